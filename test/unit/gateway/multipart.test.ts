/** Files of a form on their way to disk: within limits, and gone with their request, however it ends. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import { readMultipart } from '../../../services/gateway/multipart.ts';
import { createSpool, type Spool, type SpoolSession } from '../../../services/gateway/spool.ts';
import { spooledContent, spooledOf } from '../../../services/workspaces/spooled.ts';

const BORDER = 'border-of-parts';
const part = (name: string, content: Buffer | string, filename?: string) =>
  Buffer.concat([
    Buffer.from(`--${BORDER}\r\ncontent-disposition: form-data; name="${name}"${filename ? `; filename="${filename}"` : ''}\r\n\r\n`),
    Buffer.from(content as string),
    Buffer.from('\r\n'),
  ]);
const END = Buffer.from(`--${BORDER}--\r\n`);

describe('a form whose files wait on disk', () => {
  let folder: string;
  let spool: Spool;
  let session: SpoolSession;
  let request: PassThrough & { headers: object };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'spool-'));
    spool = createSpool(loadConfig({}, { dataDir: folder, nodeId: 'g1' }));
    session = spool.session();
    request = Object.assign(new PassThrough(), { headers: { 'content-type': `multipart/form-data; boundary=${BORDER}` } });
  });
  afterEach(async () => {
    await session.end();
    expect([spool.count, openFiles()]).toEqual([0, []]);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Of this process; the system keeps what is open although it has no name. */
  const openFiles = () =>
    readdirSync('/proc/self/fd')
      .map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`);
        } catch {
          return '';
        }
      })
      .filter((path) => path.startsWith(folder));
  const read = (maxBytes: number) => readMultipart(request as never, maxBytes, { spool: session }) as Promise<any>;

  it('gives fields, files in their order, and where each waits; nothing of it has a name that a crash could leave', async () => {
    const first = Buffer.alloc(300_000, 'a');
    const second = Buffer.from([0, 1, 2, 255]);
    request.end(Buffer.concat([part('public', 'true'), part('file', first, 'a.bin'), part('file', second, 'b.bin'), END]));
    const form = await read(1_000_000);

    expect(form).toMatchObject({
      public: 'true',
      files: [
        { originalname: 'a.bin', size: 300_000 },
        { originalname: 'b.bin', size: 4 },
      ],
    });
    expect(form.files[0].base64).toBeUndefined();
    expect([spool.count, openFiles().length, readdirSync(join(folder, 'spool'))]).toEqual([2, 2, []]);
    const [one, two] = form.files.map(({ spooled }: any) => spooled);
    expect(one).toMatchObject({ node: 'g1', size: 300_000 });
    const fetch = async ({ ref }: { ref: string }, offset: number, length: number) =>
      (await spool.read(ref, offset, length)).toString('base64');
    expect(Buffer.concat(await spooledContent(one, fetch).toArray())).toEqual(first);
    expect(Buffer.concat(await spooledContent(two, fetch).toArray())).toEqual(second);

    await session.end();
    await expect(spool.read(one.ref, 0, 10)).rejects.toMatchObject({ type: 'InvalidUploadError' });
  });

  it('is refused as soon as it is too large, not at its end', async () => {
    request.write(part('file', Buffer.alloc(200_000), 'large.bin'));
    await expect(read(100_000)).rejects.toMatchObject({ type: 'PayloadTooLarge' });
    expect(request.writableEnded).toBe(false);
  });

  it('is dropped when its sender leaves in the middle of a file', async () => {
    const reading = read(1_000_000);
    request.write(part('file', Buffer.alloc(100_000), 'half.bin').subarray(0, 90_000));
    await new Promise(setImmediate);
    request.emit('aborted');
    await expect(reading).rejects.toMatchObject({ type: 'InvalidUploadError' });
  });

  it('is dropped when it ends in the middle of a file', async () => {
    request.end(part('file', Buffer.alloc(100_000), 'half.bin').subarray(0, 90_000));
    await expect(read(1_000_000)).rejects.toMatchObject({ type: 'InvalidUploadError' });
  });

  it('says so when there is no place to keep it', async () => {
    rmSync(folder, { recursive: true });
    const { writeFileSync } = await import('node:fs');
    writeFileSync(folder, '');
    request.end(Buffer.concat([part('file', 'x', 'a.txt'), END]));
    await expect(read(1_000_000)).rejects.toMatchObject({ type: expect.stringMatching(/ServiceUnavailable|ConfigurationError/) });
  });
});

describe('a file that waits at a gateway', () => {
  const FILE = { node: 'g', ref: 'r', size: 10 };

  it('is not kept when it ends before its size', async () => {
    const content = spooledContent(FILE, async (_file, offset) => (offset === 0 ? Buffer.from('12345').toString('base64') : ''));
    await expect(content.toArray()).rejects.toMatchObject({ type: 'InvalidUploadError' });
  });

  it('is asked for again when its node was silent for a moment, not when it refuses', async () => {
    let calls = 0;
    const silentTwice = async () => {
      calls++;
      if (calls < 3) throw new Error('RequestRejectedError');
      return Buffer.alloc(10).toString('base64');
    };
    expect(Buffer.concat(await spooledContent(FILE, silentTwice, [1, 1]).toArray())).toHaveLength(10);
    expect(calls).toBe(3);

    const silent = async () => Promise.reject(new Error('RequestTimeoutError'));
    await expect(spooledContent(FILE, silent, [1, 1]).toArray()).rejects.toMatchObject({ type: 'UpstreamUnavailable' });
    const refuses = async () => Promise.reject(fault('InvalidUploadError'));
    await expect(spooledContent(FILE, refuses).toArray()).rejects.toMatchObject({ type: 'InvalidUploadError' });
  });

  it('is not kept when more comes than was asked for', async () => {
    await expect(spooledContent(FILE, async () => Buffer.alloc(11).toString('base64')).toArray()).rejects.toMatchObject({
      type: 'InvalidUploadError',
    });
  });

  it.each([
    [{}],
    [{ node: 1, ref: 'r', size: 1 }],
    [{ node: 'n', ref: 'r', size: -1 }],
    [{ node: 'n', ref: 'r', size: 1.5 }],
  ])('is refused when it is told of as %j', (told) => {
    expect(() => spooledOf(told)).toThrow(expect.objectContaining({ type: 'InvalidUploadError' }));
  });
});
