/** admin — the administrator that tests give to the installations they start. */
export const ADMIN = { email: 'admin@example.org', password: 'correct-horse-battery' };
