/** cookies — names of the cookies this gateway knows a browser by: automations answer on the same origin, and must not give it others. */

export const SESSION_COOKIE = 'access-token';
/** Binds a sign-in with an outside provider to the browser that began it. */
export const SIGN_IN_COOKIE = 'sign-in-state';
/** Of our own OpenID provider. */
export const PROVIDER_COOKIES = { session: '_sessionv2', interaction: '_interactionv2', resume: '_interaction_resumev2' } as const;

const NAMES = [SESSION_COOKIE, SIGN_IN_COOKIE, ...Object.values(PROVIDER_COOKIES)].join('|');
/** With its signature, and also without a name before it: a browser sends the cookie `=a=b` back as `a=b`. */
const OURS = new RegExp(`^[\\s=]*(?:${NAMES})(?:\\.legacy)?(?:\\.sig)?\\s*(?:[=;]|$)`, 'i');

/** What is left of the values of a `set-cookie` that an automation wrote. */
export const foreignCookies = (values: string | string[]): string[] => [values].flat().filter((value) => !OURS.test(value));
