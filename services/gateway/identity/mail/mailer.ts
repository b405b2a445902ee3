/**
 * mailer — outgoing mail through the transport that SMTP_URL names: `smtp://` or `smtps://` a server, `file:<folder>` one JSON file per mail,
 * none the log of this node. Sending may take long and fail: callers do not wait for it, a failure is logged and tried again a few times.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SECOND } from '../../../../mixins/shared/clock.ts';
import type { Config } from '../../../../mixins/shared/config.ts';
import { fault } from '../../../../mixins/shared/errors.ts';
import { ulid } from '../../../../mixins/shared/ids.ts';
import { type Letter, write } from './letters.ts';

export interface Mail {
  to: string;
  subject: string;
  text: string;
  html: string;
}

export interface MailTransport {
  send(mail: Mail & { from: string }): Promise<void>;
  close(): void;
}

export interface Mailer {
  /** Writes `letter` in the language of its reader and hands it over. Resolves at once; use `settled` to wait for the hand-over. */
  post(to: string, letter: Letter, language?: string): void;
  /** Resolves when nothing is being sent any more. */
  settled(): Promise<void>;
  close(): void;
}

const ATTEMPTS = 3;
const PAUSE_MS = 2 * SECOND;
/** A mail server that is down must not make the memory of the gateway its queue. */
const MAX_WAITING = 1000;

interface Log {
  warn(message: string): void;
  error(message: string): void;
}

function toLog(log: Log): MailTransport {
  return {
    async send({ to, subject, text }) {
      log.warn(`Mail to ${to} (SMTP_URL is not set, so it is shown here):\n  ${subject}\n${text.replace(/^/gm, '  ')}`);
    },
    close() {},
  };
}

function toFolder(url: string): MailTransport {
  const folder = url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
  return {
    async send(mail) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, `${ulid()}.json`), `${JSON.stringify(mail, null, 2)}\n`, { mode: 0o600, flush: true });
    },
    close() {},
  };
}

/** Certificates are checked; STARTTLS is used where the server offers it. @see https://nodemailer.com/smtp */
async function toServer(url: string): Promise<MailTransport> {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport(url, {});
  return {
    async send(mail) {
      await transport.sendMail({ ...mail, disableFileAccess: true, disableUrlAccess: true });
    },
    close: () => transport.close(),
  };
}

async function transportOf(url: string | undefined, log: Log): Promise<MailTransport> {
  if (!url) return toLog(log);
  if (url.startsWith('file:')) return toFolder(url);
  if (/^smtps?:\/\//.test(url) && URL.canParse(url)) return toServer(url);
  throw fault('ConfigurationError', {
    message: 'SMTP_URL must be smtp://user:password@host:port, smtps://… or file:<folder>.',
    data: { variable: 'SMTP_URL' },
  });
}

/** @throws ConfigurationError naming SMTP_URL */
export async function openMailer({ smtpUrl, mailFrom }: Pick<Config, 'smtpUrl' | 'mailFrom'>, log: Log): Promise<Mailer> {
  const transport = await transportOf(smtpUrl, log);
  const sending = new Set<Promise<void>>();
  let isClosed = false;

  async function send(mail: Mail): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await transport.send({ ...mail, from: mailFrom });
      } catch (error) {
        if (attempt >= ATTEMPTS || isClosed) {
          log.error(`A mail '${mail.subject}' could not be sent: ${(error as Error).message}`);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * attempt).unref());
      }
    }
  }

  return {
    post(to, letter, language) {
      if (sending.size >= MAX_WAITING) return log.error(`A mail '${letter.kind}' was dropped: ${MAX_WAITING} mails wait already.`);
      const job = send({ to, ...write(letter, language) }).finally(() => sending.delete(job));
      sending.add(job);
    },
    async settled() {
      while (sending.size > 0) await Promise.all(sending);
    },
    close() {
      isClosed = true;
      transport.close();
    },
  };
}
