/** Accounts at the public port: sign-up by mail, forgotten passwords, second factor, access tokens, deletion, lock-out. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import { type Client, client, expectOk, newUser, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateways, startGateways } from '../support/gateway-node.ts';

const PASSWORD = 'a-long-password-1';
const day = 24 * 3_600_000;
const inDays = (days: number) => new Date(Date.now() + days * day).toISOString();

/** The code of now, or of the step after it: both are accepted, whenever the clock turns between making and checking. */
const codeOf = (secret: string, step = 0) =>
  new TOTP({ secret: Secret.fromBase32(secret), digits: 6, period: 30 }).generate({ timestamp: Date.now() + step * 30_000 });

let gateways: Gateways;
let serial = 0;
const newEmail = (name: string) => `${name}-${++serial}@example.org`;

beforeAll(async () => {
  gateways = await startGateways({}, { accountValidation: 'email', consoleUrl: ['https://studio.example.org'] });
});
afterAll(() => gateways?.stop());

async function validated(name: string): Promise<Client> {
  const email = newEmail(name);
  await expectOk(gateways.client().post('/signup', { email, password: PASSWORD, firstName: 'Ada' }));
  const { token } = await gateways.linkIn(email, 'validationToken');
  await expectOk(gateways.client().post('/user/validate', { token }));
  return signIn(gateways.url, { email, password: PASSWORD });
}

describe('sign-up', () => {
  it('lets nobody in before the address is proven, then does', async () => {
    const email = newEmail('new');
    const account = await expectOk(
      gateways.client().post('/signup', { email: ` ${email.toUpperCase()} `, password: PASSWORD, firstName: 'Zoë' }),
    );
    expect(account).toMatchObject({ email, firstName: 'Zoë', status: 'pending', validation: 'email', authData: { prismeai: { email } } });
    expect((await gateways.client().post('/login', { email, password: PASSWORD })).body.error).toBe('ValidateEmailError');

    const { url, token } = await gateways.linkIn(email, 'validationToken');
    expect(url.origin + url.pathname).toBe('https://studio.example.org/signin');
    expect(await expectOk(gateways.client().post('/user/validate', { token }))).toEqual({ success: true });

    expect((await gateways.client().post('/login', { email, password: PASSWORD })).status).toBe(200);
    expect((await gateways.client().post('/user/validate', { token })).body.error).toBe('InvalidOrExpiredToken');
    await eventually(() =>
      expect(gateways.ofType('gateway.signup.succeeded').map((event) => (event.payload as any).user.email)).toContain(email),
    );
  });

  it('answers the same for an address in use, and tells its owner only', async () => {
    const owner = await validated('owner');
    const email = owner.user?.email as string;
    const again = await gateways.client().post('/signup', { email, password: PASSWORD, firstName: 'Eve' });
    const fresh = await gateways.client().post('/signup', { email: newEmail('fresh'), password: PASSWORD, firstName: 'Eve' });

    expect(again.status).toBe(fresh.status);
    expect(Object.keys(again.body).sort()).toEqual(Object.keys(fresh.body).sort());
    expect(again.body.id).not.toBe(owner.user?.id);
    await eventually(() => gateways.mails(email).some(({ subject }) => subject === 'You already have an account'));
  });

  it('27: puts a link to a place that may call the platform into mails, whatever the request claims', async () => {
    for (const [headers, expected] of [
      [{ referer: 'https://evil.example.com/x' }, 'https://studio.example.org'],
      [{ origin: 'https://studio.example.org.evil.tld' }, 'https://studio.example.org'],
      [{ origin: 'https://shop.pages.local.prisme.ai' }, 'https://shop.pages.local.prisme.ai'],
    ] as const) {
      const email = newEmail('link');
      await expectOk(gateways.client().post('/signup', { email, password: PASSWORD }, headers));
      expect((await gateways.linkIn(email, 'validationToken')).url.origin).toBe(expected);
    }
  });

  it('escapes names in mails and writes them in the language of their reader', async () => {
    const email = newEmail('french');
    await expectOk(gateways.client().post('/signup', { email, password: PASSWORD, firstName: "L'Été", language: 'fr' }));
    const mail = await gateways.mailTo(email);
    expect(mail.subject).toBe('Confirmez votre adresse');
    expect(mail.html).toContain('Bonjour L&#39;Été,');
  });

  it('refuses what is not an address, a password or a name, naming each field', async () => {
    const post = (body: unknown) => gateways.client().post('/signup', body);
    expect((await post({ email: 'nobody', password: PASSWORD })).body.error).toBe('InvalidEmail');
    expect((await post({ email: newEmail('x'), password: 'short' })).body.error).toBe('InvalidPassword');
    const wrong = await post({ email: { $ne: '' }, password: [], firstName: '<b>' });
    expect(wrong).toMatchObject({ status: 400, body: { error: 'RequestValidationError' } });
    expect((await post('[]')).status).toBe(400);
  });
});

describe('a forgotten password', () => {
  it('17: is replaced with the link of a mail, once, and ends every session', async () => {
    const person = await validated('forgetful');
    const email = person.user?.email as string;
    const known = await gateways.client().post('/user/password', { email });
    const unknown = await gateways.client().post('/user/password', { email: newEmail('nobody') });
    expect(known).toMatchObject({ status: 200, body: unknown.body });
    const { url, token } = await gateways.linkIn(email, 'token', 2);
    expect(url.pathname).toBe('/forgot');

    expect((await gateways.client().post('/user/password', { token, password: 'no' })).body.error).toBe('InvalidPassword');
    await expectOk(gateways.client().post('/user/password', { token, password: 'another-password-2' }));

    expect((await person.get('/me')).status).toBe(401);
    expect((await gateways.client().post('/login', { email, password: PASSWORD })).status).toBe(401);
    expect((await gateways.client().post('/login', { email, password: 'another-password-2' })).status).toBe(200);
    expect((await gateways.client().post('/user/password', { token, password: 'third-password-3' })).body.error).toBe(
      'InvalidOrExpiredToken',
    );
    await eventually(() => gateways.ofType('gateway.passwordReset.succeeded').some((event) => (event.payload as any).email === email));
  });

  it('17: is not taken from a token of another purpose', async () => {
    const email = newEmail('purpose');
    await expectOk(gateways.client().post('/signup', { email, password: PASSWORD }));
    const { token } = await gateways.linkIn(email, 'validationToken');
    expect((await gateways.client().post('/user/password', { token, password: 'another-password-2' })).body.error).toBe(
      'InvalidOrExpiredToken',
    );
  });

  it('is changed in a session with the present one, which ends the other sessions', async () => {
    const person = await validated('changer');
    const email = person.user?.email as string;
    const other = await signIn(gateways.url, { email, password: PASSWORD });
    expect((await person.post('/user/password', { currentPassword: 'wrong-password', password: 'next-password-4' })).status).toBe(401);
    await expectOk(person.post('/user/password', { currentPassword: PASSWORD, password: 'next-password-4' }));
    expect((await person.get('/me')).status).toBe(200);
    expect((await other.get('/me')).status).toBe(401);
  });
});

describe('the second factor', () => {
  async function withTotp(name: string): Promise<{ person: Client; secret: string; recoveryCodes: string[] }> {
    const person = await validated(name);
    const { secret, qrImage, url } = await expectOk(person.post('/user/mfa', { method: 'totp', currentPassword: PASSWORD }));
    expect(qrImage).toMatch(/^data:image\/svg\+xml;base64,/);
    expect(url).toContain(`secret=${secret}`);
    const { recoveryCodes } = await expectOk(person.post('/login/mfa', { totp: codeOf(secret) }));
    return { person, secret, recoveryCodes };
  }

  it('14: is on after its first right code only, and then asked of every new session wherever a user is needed', async () => {
    const careless = await validated('careless');
    await expectOk(careless.post('/user/mfa', { method: 'totp', currentPassword: PASSWORD }));
    expect((await careless.post('/login/mfa', { totp: '000000' })).body).toMatchObject({
      error: 'AuthenticationError',
      message: 'Bad TOTP',
    });
    expect((await (await signIn(gateways.url, { email: careless.user?.email as string, password: PASSWORD })).get('/me')).status).toBe(200);

    const { person, secret } = await withTotp('careful');
    expect((await person.get('/me')).body.mfa).toBe('totp');
    const second = await signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD });
    for (const [method, path] of [
      ['GET', '/me'],
      ['POST', '/user/accessTokens'],
      ['POST', '/user/mfa'],
      ['PATCH', '/user'],
    ] as const)
      expect((await second.request(method, path, method === 'GET' ? undefined : {})).body.error).toBe('MissingMFA');

    await expectOk(second.post('/login/mfa', { totp: codeOf(secret, 1) }));
    expect((await second.get('/me')).status).toBe(200);
  });

  it('15: accepts a code once', async () => {
    const { person, secret } = await withTotp('replayed');
    const [one, two] = await Promise.all(
      [0, 1].map(() => signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD })),
    );
    const totp = codeOf(secret, 1);
    const outcomes = await Promise.all([one?.post('/login/mfa', { totp }), two?.post('/login/mfa', { totp })]);
    expect(outcomes.map((answer) => answer?.status).sort()).toEqual([200, 401]);
    expect((await one?.post('/login/mfa', { totp }))?.status).toBe(401);
  });

  it('gives way to a recovery code, once, and counts those that remain', async () => {
    const { person, recoveryCodes } = await withTotp('lost-phone');
    expect(recoveryCodes).toHaveLength(10);
    const session = await signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD });
    const [code] = recoveryCodes as [string];
    expect(await expectOk(session.post('/login/mfa', { totp: code.toLowerCase() }))).toEqual({ success: true, remainingRecoveryCodes: 9 });
    expect((await session.post('/login/mfa', { totp: code })).status).toBe(401);
  });

  it('15: stops guesses after five wrong codes, also for the right one', async () => {
    const { person, secret } = await withTotp('guessed');
    const session = await signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD });
    for (let n = 0; n < 5; n++) expect((await session.post('/login/mfa', { totp: '123456' })).status).toBe(401);
    const answer = await session.post('/login/mfa', { totp: codeOf(secret, 1) });
    expect(answer).toMatchObject({ status: 429, body: { error: 'TooManyRequests', details: { retryAfter: expect.any(Number) } } });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(1);
    await eventually(() => expect(gateways.ofType('gateway.mfa.failed').length).toBeGreaterThanOrEqual(5));
  });

  it('15: needs the password and the factor itself to be changed, and never takes "*"', async () => {
    const { person } = await withTotp('kept');
    expect((await person.post('/user/mfa', { method: 'none', currentPassword: 'wrong-password' })).status).toBe(401);
    expect((await person.post('/user/mfa', { method: '*', currentPassword: PASSWORD })).status).toBe(400);
    expect(await expectOk(person.post('/user/mfa', { method: 'none', currentPassword: PASSWORD }))).toEqual({ method: '' });
    expect((await (await signIn(gateways.url, { email: person.user?.email as string, password: PASSWORD })).get('/me')).status).toBe(200);
    expect((await person.post('/login/mfa', { totp: '123456' })).body).toMatchObject({
      error: 'NotFoundError',
      message: 'No MFA configured',
    });
  });
});

describe('access tokens', () => {
  it('are shown once, kept as hashes, tell their last use, and end with their deletion', async () => {
    const person = await validated('tokens');
    const made = await expectOk(person.post('/user/accessTokens', { name: 'ci', expiresAt: inDays(1), id: 'mine', userId: 'other' }));
    expect(made.token).toMatch(/^at:[0-9a-f-]{36}$/);
    expect(made.id).not.toBe('mine');
    const bearer = client(gateways.url, made.token);
    expect((await bearer.get('/me')).body.id).toBe(person.user?.id);

    const [listed] = await eventually(async () => {
      const list = await expectOk(person.get('/user/accessTokens'));
      return list[0].lastUsedAt ? list : false;
    });
    expect(JSON.stringify(listed)).not.toContain(made.token.slice(8));
    expect((await bearer.get('/user/accessTokens')).status).toBe(401);
    expect((await client(gateways.url).get('/me', { 'x-prismeai-token': made.token })).status).toBe(200);

    await expectOk(person.delete(`/user/accessTokens/${encodeURIComponent(made.token)}`));
    expect((await bearer.get('/me')).body).toMatchObject({ error: 'AuthenticationError', message: 'Invalid access token' });
  });

  it('live no longer than a year, and do only what their scopes name', async () => {
    const person = await validated('scoped');
    expect((await person.post('/user/accessTokens', { name: 'long', expiresAt: inDays(400) })).body.error).toBe('RequestValidationError');
    expect((await person.post('/user/accessTokens', { name: 'odd', expiresAt: inDays(1), scopes: ['everything'] })).status).toBe(400);
    const { token } = await expectOk(
      person.post('/user/accessTokens', { name: 'reader', expiresAt: inDays(1), scopes: ['workspaces:read'] }),
    );
    const bearer = client(gateways.url, token);
    expect((await bearer.get('/me')).status).toBe(200);
    const refused = await bearer.post('/workspaces', { name: 'No' });
    expect(refused).toMatchObject({ status: 403, body: { error: 'ForbiddenError', details: { scope: 'workspaces:write' } } });
    expect((await bearer.patch('/user', { firstName: 'Eve' })).status).toBe(401);
    expect((await bearer.post('/contacts', { ids: [] })).status).toBe(403);
  });
});

describe('an account', () => {
  it('is deleted with the token of a mail, with its tokens and sessions', async () => {
    const person = await validated('leaving');
    const email = person.user?.email as string;
    const { token: access } = await expectOk(person.post('/user/accessTokens', { name: 'ci', expiresAt: inDays(1) }));
    expect((await person.delete(`/users/${person.user?.id}`)).status).toBe(403);
    await expectOk(person.delete('/user'));
    const { token } = await gateways.linkIn(email, 'validationToken', 2);
    const stranger = await validated('stranger');
    expect((await stranger.delete(`/users/${person.user?.id}?token=${token}`)).status).toBe(403);

    expect(await expectOk(person.delete(`/users/${person.user?.id}?token=${token}`))).toEqual({ success: true });

    expect((await person.get('/me')).status).toBe(401);
    expect((await client(gateways.url, access).get('/me')).status).toBe(401);
    expect((await gateways.client().post('/login', { email, password: PASSWORD })).status).toBe(401);
    await eventually(() => gateways.ofType('gateway.users.deleted').some((event) => (event.payload as any).userId === person.user?.id));
  });

  it('changes its own profile, and nothing an administrator decides', async () => {
    const person = await validated('profile');
    expect(await expectOk(person.patch('/user', { firstName: 'Grace', language: 'fr' }))).toMatchObject({
      firstName: 'Grace',
      language: 'fr',
    });
    expect((await person.patch('/user', { platformRole: 'superadmin' })).body).toMatchObject({
      error: 'ForbiddenError',
      message: "Unauthorized update on 'platformRole' field",
    });
    expect((await person.patch('/user', { photo: 'javascript:alert(1)' })).status).toBe(400);
    await Promise.all([person.post('/user/meta', { a: 1 }), person.post('/user/meta', { b: 2 })]);
    expect(await expectOk(person.delete('/user/meta/a'))).toEqual({ b: 2 });
  });

  it('is deactivated by an administrator, who finds and groups people', async () => {
    const admin = await gateways.admin();
    const person = await validated('suspended');
    const id = person.user?.id as string;
    expect(await expectOk(admin.patch('/users', { ids: [id, 'nobody'], groups: ['ops'], behaviour: { groups: 'add' } }))).toEqual({
      requestedCount: 2,
      matchedCount: 1,
      modifiedCount: 1,
    });
    expect((await expectOk(admin.post('/contacts', { ids: [id] }))).contacts[0].groups).toEqual(['ops']);
    expect((await person.patch('/users', { ids: [id], groups: [] })).status).toBe(403);
    await expectOk(admin.patch(`/users/${id}`, { status: 'deactivated' }));
    expect((await person.get('/me')).status).toBe(401);
    expect((await gateways.client().post('/login', { email: person.user?.email, password: PASSWORD })).body.error).toBe(
      'AccountDeactivated',
    );
  });

  it('is found by its exact address only, by signed-in people only', async () => {
    const person = await validated('findable');
    const other = await validated('finder');
    expect((await gateways.client().post('/contacts', { email: person.user?.email })).status).toBe(401);
    expect((await expectOk(other.post('/contacts', { email: person.user?.email }))).size).toBe(1);
    expect((await expectOk(other.post('/contacts', { email: 'findable' }))).size).toBe(0);
    expect((await other.post('/contacts', {})).body.error).toBe('RequestValidationError');
    const visitor = await expectOk(gateways.client().post('/login/anonymous', {}));
    expect((await client(gateways.url, visitor.token).post('/contacts', { ids: [] })).status).toBe(403);
  });
});

describe('the picture of a person', () => {
  const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
  it('is uploaded, served as what it is, and replaced', async () => {
    const person = await validated('pictured');
    const first = await expectOk(person.upload('/user/photo', 'any', 'me.svg', PNG, 'image/svg+xml'));
    const shown = await fetch(first.photo);
    expect([shown.status, shown.headers.get('content-type'), Buffer.from(await shown.arrayBuffer()).equals(PNG)]).toEqual([
      200,
      'image/png',
      true,
    ]);

    const second = await expectOk(person.upload('/user/photo', 'any', 'me.png', PNG, 'image/png'));
    expect(second.photo).not.toBe(first.photo);
    expect((await fetch(first.photo)).status).toBe(404);
    expect((await expectOk(person.get('/me'))).photo).toBe(second.photo);
  });

  it('is no page, no script, and not without end', async () => {
    const person = await validated('picky');
    for (const content of ['<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', '', 'GIF'])
      expect((await person.upload('/user/photo', 'f', 'x.png', Buffer.from(content), 'image/png')).body.error).toBe('InvalidFile');
    expect((await person.post('/user/photo', {})).body.error).toBe('InvalidFile');
    const large = Buffer.concat([PNG, Buffer.alloc(4_000_001)]);
    expect((await person.upload('/user/photo', 'f', 'x.png', large, 'image/png')).body).toMatchObject({
      error: 'InvalidFile',
      details: { limit: 4_000_000 },
    });
    expect((await gateways.client().get(`/users/${person.user?.id}/photo/..%2f..%2fsecrets`)).status).toBe(404);
  });
});

describe('an installation that wants a second factor of everybody', () => {
  let strict: Gateways;
  beforeAll(async () => {
    strict = await startGateways({}, { mfaForceLocal: true });
  });
  afterAll(() => strict?.stop());

  it('lets an account without one do nothing but set it up', async () => {
    const person = await newUser(strict.url, 'strict');
    expect((await person.get('/me')).body.error).toBe('MissingMFA');
    const { secret } = await expectOk(person.post('/user/mfa', { method: 'totp', currentPassword: PASSWORD }));
    await expectOk(person.post('/login/mfa', { totp: codeOf(secret) }));
    expect((await person.get('/me')).status).toBe(200);
    expect((await strict.client().post('/login/anonymous', {})).status).toBe(200);
  });
});

describe('failed sign-ins', () => {
  let limited: Gateways;
  beforeAll(async () => {
    limited = await startGateways({}, { rateLimitDisabled: false, rateLogin: 3, ratePasswordReset: 2 });
  });
  afterAll(() => limited?.stop());

  it('lock the account for a while, not the others, and are told on the bus', async () => {
    const [victim, other] = [await newUser(limited.url, 'victim'), await newUser(limited.url, 'other')];
    const guess = () => limited.client().post('/login', { email: victim.user?.email, password: 'wrong-password' });
    for (let n = 0; n < 3; n++) expect((await guess()).status).toBe(401);
    expect(await guess()).toMatchObject({ status: 429, body: { error: 'TooManyRequests' } });
    expect((await limited.client().post('/login', { email: other.user?.email, password: PASSWORD })).status).toBe(200);
    await eventually(() => limited.ofType('gateway.login.failed').length === 3);
  });

  it('are not helped by asking for mails without end', async () => {
    const ask = () => limited.client().post('/user/password', { email: 'nobody@example.org' });
    expect([(await ask()).status, (await ask()).status, (await ask()).status]).toEqual([200, 200, 429]);
  });
});
