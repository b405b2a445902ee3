/** pages — the few pages of the provider itself: signing in where no studio does it, signing out, and what went wrong. No script but the one that submits. */
import { createHash } from 'node:crypto';

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string) => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign] as string);

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:22rem;margin:12vh auto;padding:0 1rem;color:#1a1a2e}h1{font-size:1.3rem}label{display:block;margin:.8rem 0}input:not([type=checkbox]){display:block;width:100%;box-sizing:border-box;padding:.5rem;font:inherit}button,a.button{display:block;width:100%;box-sizing:border-box;margin:1rem 0;padding:.6rem;font:inherit;text-align:center;border:1px solid #3b3b98;background:#3b3b98;color:#fff;text-decoration:none;cursor:pointer}a.button{background:#fff;color:#3b3b98}.wrong{color:#b00020}';
const SUBMIT = 'document.forms[0].submit()';
const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** For every answer of the provider: it adds the hashes of its own scripts to the empty list. */
export const pagePolicy = (ancestors: string) =>
  `default-src 'none'; style-src ${hash(STYLE)}; script-src ${hash(SUBMIT)}; base-uri 'none'; frame-ancestors ${ancestors}`;

const page = (title: string, body: string) =>
  `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(title)}</title><style>${STYLE}</style></head>\n<body><h1>${escaped(title)}</h1>\n${body}\n</body></html>\n`;

export interface SignInPage {
  uid: string;
  client: string;
  /** Providers besides the password: name and label. */
  providers: { name: string; label: string; url: string }[];
  hasPassword: boolean;
  login?: string;
  wrong?: string;
}

export function signInPage({ uid, client, providers, hasPassword, login = '', wrong }: SignInPage): string {
  const form = hasPassword
    ? `<form method="post" action="/oidc/interaction/${encodeURIComponent(uid)}/login">
<input type="hidden" name="page" value="1">
<label>E-mail <input name="login" type="email" autocomplete="username" required value="${escaped(login)}"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<label>Code of your second factor, if you have one <input name="totp" inputmode="numeric" autocomplete="one-time-code"></label>
<button>Sign in</button></form>`
    : '';
  const links = providers.map(({ label, url }) => `<a class="button" href="${escaped(url)}">Sign in with ${escaped(label)}</a>`).join('\n');
  return page(`Sign in to ${client}`, `${wrong ? `<p class="wrong">${escaped(wrong)}</p>\n` : ''}${form}\n${links}`);
}

/** Signing out was asked by following a link: the form goes by itself, and by hand where scripts are off. */
export const signOutPage = (form: string): string =>
  page(
    'Signing out',
    `${form.replace('</form>', '<input type="hidden" name="logout" value="yes"><button>Sign out</button></form>')}<script>${SUBMIT}</script>`,
  );

export const signedOutPage = (): string => page('You are signed out', '<p>You may close this window.</p>');

export const wrongPage = (error: string, message: string, correlationId: string): string =>
  page('This did not work', `<p class="wrong">${escaped(message)}</p><p>${escaped(error)}, ${escaped(correlationId)}</p>`);
