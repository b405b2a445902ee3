/** confirmed-user — an account whose address was proven by the mail sent to it: of a platform started with ACCOUNT_VALIDATION_METHOD=email and SMTP_URL=file:<folder>. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, client, expectOk, signIn } from './client.ts';
import { eventually } from './eventually.ts';

const PASSWORD = 'a-long-password-1';

/** The value of `parameter` in the link of the newest mail to `to`. */
function inMail(folder: string, to: string, parameter: string): string {
  const mails = readdirSync(folder)
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as { to: string; text: string });
  const text = mails.filter((mail) => mail.to === to).at(-1)?.text as string;
  return new URL(/https?:\/\/\S+/.exec(text)?.[0] as string).searchParams.get(parameter) as string;
}

export async function confirmedUser(url: string, mails: string, email: string): Promise<Client> {
  await expectOk(client(url).post('/signup', { email, password: PASSWORD, firstName: 'Ada', lastName: 'Lovelace' }));
  const token = await eventually(() => inMail(mails, email, 'validationToken'));
  await expectOk(client(url).post('/user/validate', { token }));
  return signIn(url, { email, password: PASSWORD });
}
