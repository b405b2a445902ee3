/**
 * interpolate — `${NAME}` and `${NAME:-default}` in the text of a configuration file, before it is parsed. An empty variable counts as unset; the default
 * begins after the first `:-`. Only names the file mentions are read.
 */
import { environmentValue } from '../../../mixins/shared/config.ts';
import { fault } from '../../../mixins/shared/errors.ts';

/** @throws ConfigurationError naming the variables that are not set */
export function interpolate(text: string, lookUp: (name: string) => string | undefined = environmentValue): string {
  const missing = new Set<string>();
  const result = text.replace(/\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g, (whole, name: string, fallback: string | undefined) => {
    const value = lookUp(name) || fallback;
    if (value !== undefined) return value;
    missing.add(name);
    return whole;
  });
  if (missing.size > 0) {
    const names = [...missing].join(', ');
    throw fault('ConfigurationError', { message: `The file uses ${names}, which is not set.`, data: { variables: [...missing] } });
  }
  return result;
}
