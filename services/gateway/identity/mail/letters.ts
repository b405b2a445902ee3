/** letters — what the platform writes to people, in their language, as text and as HTML. Names and links come from outside: all is escaped. */

export type LetterKind =
  | 'validateAccount'
  | 'forgotPassword'
  | 'alreadyRegistered'
  | 'deleteAccount'
  | 'accountDeleted'
  | 'organisationInvite';

export interface Letter {
  kind: LetterKind;
  name?: string | undefined;
  /** Where the reader is asked to go. */
  link?: string;
}

interface Words {
  subject: string;
  body: string;
  /** Label of the link. */
  action?: string;
}

type Language = 'en' | 'fr' | 'es';

const HOUR_NOTE: Record<Language, string> = {
  en: 'The link works once, within an hour. If you did not ask for this, do nothing.',
  fr: "Le lien fonctionne une seule fois, pendant une heure. Si vous n'êtes pas à l'origine de cette demande, ignorez ce message.",
  es: 'El enlace funciona una sola vez, durante una hora. Si no lo ha pedido, no haga nada.',
};

const GREETING: Record<Language, (name?: string) => string> = {
  en: (name) => (name ? `Hello ${name},` : 'Hello,'),
  fr: (name) => (name ? `Bonjour ${name},` : 'Bonjour,'),
  es: (name) => (name ? `Hola ${name}:` : 'Hola:'),
};

const WORDS: Record<LetterKind, Record<Language, Words>> = {
  validateAccount: {
    en: { subject: 'Confirm your e-mail address', body: 'Please confirm that this address is yours.', action: 'Confirm the address' },
    fr: { subject: 'Confirmez votre adresse', body: 'Merci de confirmer que cette adresse est la vôtre.', action: "Confirmer l'adresse" },
    es: { subject: 'Confirme su dirección', body: 'Confirme que esta dirección es suya.', action: 'Confirmar la dirección' },
  },
  forgotPassword: {
    en: { subject: 'Choose a new password', body: 'A new password was asked for your account.', action: 'Choose a password' },
    fr: {
      subject: 'Choisissez un nouveau mot de passe',
      body: 'Un nouveau mot de passe a été demandé pour votre compte.',
      action: 'Choisir un mot de passe',
    },
    es: {
      subject: 'Elija una nueva contraseña',
      body: 'Se ha pedido una nueva contraseña para su cuenta.',
      action: 'Elegir una contraseña',
    },
  },
  alreadyRegistered: {
    en: {
      subject: 'You already have an account',
      body: 'Somebody, perhaps you, tried to sign up with this address. It already has an account: sign in, or choose a new password.',
      action: 'Sign in',
    },
    fr: {
      subject: 'Vous avez déjà un compte',
      body: "Quelqu'un, peut-être vous, a voulu créer un compte avec cette adresse. Elle en a déjà un : connectez-vous, ou choisissez un nouveau mot de passe.",
      action: 'Se connecter',
    },
    es: {
      subject: 'Ya tiene una cuenta',
      body: 'Alguien, quizá usted, ha querido crear una cuenta con esta dirección. Ya tiene una: inicie sesión o elija una nueva contraseña.',
      action: 'Iniciar sesión',
    },
  },
  deleteAccount: {
    en: {
      subject: 'Confirm the deletion of your account',
      body: 'The deletion of your account was asked. It cannot be undone.',
      action: 'Delete the account',
    },
    fr: {
      subject: 'Confirmez la suppression de votre compte',
      body: 'La suppression de votre compte a été demandée. Elle est définitive.',
      action: 'Supprimer le compte',
    },
    es: {
      subject: 'Confirme la eliminación de su cuenta',
      body: 'Se ha pedido eliminar su cuenta. No se puede deshacer.',
      action: 'Eliminar la cuenta',
    },
  },
  accountDeleted: {
    en: { subject: 'Your account was deleted', body: 'Your account and its access tokens were deleted.' },
    fr: { subject: 'Votre compte a été supprimé', body: "Votre compte et ses jetons d'accès ont été supprimés." },
    es: { subject: 'Su cuenta ha sido eliminada', body: 'Su cuenta y sus tokens de acceso han sido eliminados.' },
  },
  // Without the name of the organisation: whoever sends it chooses that, and this letter must not carry his words.
  organisationInvite: {
    en: { subject: 'You are invited', body: 'You are invited to join an organisation.', action: 'See the invitation' },
    fr: { subject: 'Vous êtes invité', body: 'Vous êtes invité à rejoindre une organisation.', action: "Voir l'invitation" },
    es: { subject: 'Tiene una invitación', body: 'Se le invita a unirse a una organización.', action: 'Ver la invitación' },
  },
};

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: string) => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign] as string);
/** One line: a name must not write a second paragraph. */
const plain = (text: string | undefined) => text?.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim() || undefined;

const languageOf = (text: string | undefined): Language => {
  const short = text?.slice(0, 2).toLowerCase();
  return short === 'fr' || short === 'es' ? short : 'en';
};

export function write({ kind, name, link }: Letter, wanted?: string): { subject: string; text: string; html: string } {
  const language = languageOf(wanted);
  const { subject, body, action } = WORDS[kind][language];
  const greeting = GREETING[language](plain(name));
  const note = link && kind !== 'alreadyRegistered' && kind !== 'organisationInvite' ? HOUR_NOTE[language] : undefined;
  const text = [greeting, body, link && `${action}: ${link}`, note].filter(Boolean).join('\n\n');
  const html = [
    `<p>${escaped(greeting)}</p>`,
    `<p>${escaped(body)}</p>`,
    link && `<p><a href="${escaped(link)}">${escaped(action ?? link)}</a></p>`,
    note && `<p>${escaped(note)}</p>`,
  ]
    .filter(Boolean)
    .join('\n');
  return { subject, text: `${text}\n`, html: `<!doctype html>\n<html lang="${language}"><body>\n${html}\n</body></html>\n` };
}
