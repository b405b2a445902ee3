/** fresh — names nobody has used in this process. */
let serial = 0;
export const fresh = (name: string): string => `${name}-${++serial}`;
