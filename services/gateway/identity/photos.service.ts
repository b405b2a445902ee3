/**
 * photos — pictures of people: kept in the file store, served to anybody who knows the address, which is a random name and changes with each picture.
 * What a file is, is read from its first bytes: its name and declared type are the sender's word. SVG is not taken, since browsers run scripts in it.
 */
import type { ServiceSchema } from 'moleculer';
import { fault } from '../../../mixins/shared/errors.ts';
import { secretToken } from '../../../mixins/shared/ids.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { type FilesMethods, files } from '../../../mixins/storage/files/files.mixin.ts';
import type { UploadedFile } from '../../runtime/contract.ts';
import { type Call, type Self as CoreSelf, core } from './core.mixin.ts';
import { shownUser, USERS, type UserRow } from './rows.ts';

type Self = CoreSelf & FilesMethods;

const YEAR_S = 365 * 24 * 3600;
const NAME = /^[\w-]{20,60}$/;

/** First bytes → media type. @see https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm */
const KINDS: [type: string, test: (bytes: Buffer) => boolean][] = [
  ['image/png', (bytes) => bytes.subarray(0, 8).equals(Buffer.from('89504e470d0a1a0a', 'hex'))],
  ['image/jpeg', (bytes) => bytes.subarray(0, 3).equals(Buffer.from('ffd8ff', 'hex'))],
  ['image/gif', (bytes) => /^GIF8[79]a$/.test(bytes.subarray(0, 6).toString('latin1'))],
  ['image/webp', (bytes) => bytes.subarray(0, 4).toString('latin1') === 'RIFF' && bytes.subarray(8, 12).toString('latin1') === 'WEBP'],
];

const photos: ServiceSchema<object, any> = {
  name: 'photos',
  mixins: [core(), files({ area: 'photos' })],

  actions: {
    /** POST /user/photo: a form with one picture. */
    upload: {
      visibility: 'published',
      identity: 'required',
      async handler(this: Self, ctx: Call<{ body?: { files?: UploadedFile[] } }>): Promise<JsonObject> {
        const { userId, kind } = this.identityOf(ctx);
        if (!userId || kind === 'delegated') throw fault('AuthenticationError');
        const [file] = Array.isArray(ctx.params.body?.files) ? ctx.params.body.files : [];
        if (!file) throw fault('InvalidFile', { message: 'Send a form with one picture.' });
        const { photoMaxBytes, apiUrl } = this.core.config;
        if (file.size > photoMaxBytes)
          throw fault('InvalidFile', {
            message: `A picture has ${photoMaxBytes} bytes at most.`,
            data: { limit: photoMaxBytes, size: file.size },
          });
        const bytes = Buffer.from(file.base64, 'base64');
        const type = KINDS.find(([, test]) => test(bytes))?.[0];
        if (!type) throw fault('InvalidFile', { message: 'This is not a PNG, JPEG, GIF or WebP picture.' });

        const name = secretToken(18);
        await this.files.write(`${userId}/${name}`, bytes, { contentType: type });
        const before = await this.documents.get<UserRow>(USERS.name, userId);
        const photo = `${apiUrl}/users/${userId}/photo/${name}`;
        const user = await this.documents.update<UserRow>(USERS.name, userId, { set: { photo, updatedAt: new Date().toISOString() } });
        const old = before?.photo?.startsWith(`${apiUrl}/users/${userId}/photo/`) ? before.photo.split('/').at(-1) : undefined;
        if (old && NAME.test(old)) await this.files.remove(`${userId}/${old}`);
        await this.tell(ctx, 'gateway.users.updated', { user: shownUser(user), fields: ['photo'] });
        return shownUser(user);
      },
    },

    /** GET /users/:userId/photo/:name */
    get: {
      visibility: 'published',
      identity: 'optional',
      async handler(this: Self, ctx: Call<{ userId: string; name: string }>) {
        const { userId, name } = ctx.params;
        const found = NAME.test(name) && /^[\w-]{1,60}$/.test(userId) ? await this.files.read(`${userId}/${name}`) : null;
        if (!found) throw fault('ObjectNotFoundError', { message: 'There is no such picture.' });
        const type = KINDS.find(([, test]) => test(found.body))?.[0] ?? 'application/octet-stream';
        ctx.meta.$responseHeaders = { 'content-type': type, 'cache-control': `public, max-age=${YEAR_S}, immutable` };
        return found.body;
      },
    },
  },
};

export default photos;
