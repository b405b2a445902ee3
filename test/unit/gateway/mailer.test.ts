/** Outgoing mail: to a server over SMTP, to a folder, to the log; and what a letter looks like. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { write } from '../../../services/gateway/identity/mail/letters.ts';
import { openMailer } from '../../../services/gateway/identity/mail/mailer.ts';

const quiet = () => {
  const lines: string[] = [];
  return { lines, log: { warn: (line: string) => void lines.push(line), error: (line: string) => void lines.push(line) } };
};

/** As much of a mail server as a client needs. @param refusals how many mails are put off first */
async function startSmtp(refusals = 0): Promise<{ server: Server; url: string; mails: { from: string; to: string; data: string }[] }> {
  const mails: { from: string; to: string; data: string }[] = [];
  const server = createServer((socket: Socket) => {
    let [from, to, data, isData] = ['', '', '', false];
    let buffer = '';
    socket.write('220 test\r\n');
    socket.on('data', (chunk) => {
      buffer += chunk;
      for (let end = buffer.indexOf('\r\n'); end >= 0; end = buffer.indexOf('\r\n')) {
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (isData && line !== '.') data += `${line}\n`;
        else if (isData) {
          isData = false;
          const isRefused = refusals-- > 0;
          if (!isRefused) mails.push({ from, to, data });
          socket.write(isRefused ? '451 later\r\n' : '250 taken\r\n');
        } else if (line.startsWith('MAIL')) {
          from = line;
          data = '';
          socket.write('250 ok\r\n');
        } else if (line.startsWith('RCPT')) {
          to = line;
          socket.write('250 ok\r\n');
        } else if (line === 'DATA') {
          isData = true;
          socket.write('354 go on\r\n');
        } else if (line === 'QUIT') socket.end('221 bye\r\n');
        else socket.write('250 ok\r\n');
      }
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()));
  return { server, mails, url: `smtp://127.0.0.1:${(server.address() as { port: number }).port}` };
}

describe('mail', () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  it('goes to a server by SMTP, and again when it was put off', async () => {
    const { server, mails, url } = await startSmtp(1);
    const { log, lines } = quiet();
    const mailer = await openMailer({ smtpUrl: url, mailFrom: 'Prisme <no-reply@example.org>' }, log);
    closers.push(
      () => mailer.close(),
      () => server.close(),
    );

    mailer.post('ada@example.org', { kind: 'forgotPassword', name: 'Ada', link: 'https://studio.example.org/forgot?token=t' }, 'en');
    await mailer.settled();

    expect(lines).toEqual([]);
    expect(mails).toHaveLength(1);
    expect(mails[0]).toMatchObject({
      from: expect.stringContaining('no-reply@example.org'),
      to: expect.stringContaining('ada@example.org'),
    });
    expect(mails[0]?.data).toContain('Subject: Choose a new password');
    expect(mails[0]?.data).toContain('multipart/alternative');
  });

  it('goes to a folder, or to the log of the node', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'prisme-mail-'));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const { log, lines } = quiet();
    const [toFolder, toLog] = [
      await openMailer({ smtpUrl: `file:${folder}`, mailFrom: 'f' }, log),
      await openMailer({ smtpUrl: undefined, mailFrom: 'f' }, log),
    ];
    for (const mailer of [toFolder, toLog]) {
      mailer.post('ada@example.org', { kind: 'accountDeleted' });
      await mailer.settled();
      mailer.close();
    }
    expect(JSON.parse(readFileSync(join(folder, readdirSync(folder)[0] as string), 'utf8'))).toMatchObject({
      to: 'ada@example.org',
      from: 'f',
    });
    expect(lines.join()).toContain('Your account was deleted');
  });

  it('that cannot be configured stops the start, naming the variable', async () => {
    await expect(openMailer({ smtpUrl: 'http://mail', mailFrom: 'f' }, quiet().log)).rejects.toMatchObject({
      type: 'ConfigurationError',
      data: { variable: 'SMTP_URL' },
    });
  });

  it('is written in the language of its reader, with everything from outside escaped and on one line', () => {
    const letter = write({ kind: 'validateAccount', name: '<b>Ada\r\nBcc: x</b>', link: 'https://x/?a="b"' }, 'fr-FR');
    expect(letter.subject).toBe('Confirmez votre adresse');
    expect(letter.html).toContain('Bonjour &lt;b&gt;Ada Bcc: x&lt;/b&gt;,');
    expect(letter.html).toContain('href="https://x/?a=&quot;b&quot;"');
    expect(write({ kind: 'accountDeleted' }, 'xx').subject).toBe('Your account was deleted');
    expect(write({ kind: 'deleteAccount', link: 'l' }, 'es').text).toContain('Eliminar la cuenta: l');
  });
});
