/** cors — which browser origins may call with credentials: the studio, pages of workspaces, and those the installation names. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../../../mixins/shared/config.ts';

const EXPOSED =
  'X-Correlation-Id, X-Prismeai-Session-Id, X-Prismeai-Client-Id, X-Prismeai-Csrf-Token, X-Total-Count, ETag, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset';
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
const MAX_AGE_S = '600';

interface Allowed {
  protocol?: string;
  /** Host name, or a suffix that starts with a dot and stands for exactly one more label. */
  host: string;
}

function parse(text: string): Allowed | undefined {
  const bare = text.startsWith('.') ? { host: text } : undefined;
  if (bare) return { host: bare.host.replace(/:\d+$/, '').toLowerCase() };
  try {
    const url = new URL(text.includes('://') ? text : `https://${text}`);
    return { protocol: text.includes('://') ? url.protocol : undefined, host: url.hostname } as Allowed;
  } catch {
    return undefined;
  }
}

export function corsPolicy(config: Config): {
  isAllowed(origin: string): boolean;
  /** Whether it is a page of some workspace: what runs there was written by whoever owns that workspace. */
  isPage(origin: string | undefined): boolean;
  /** Whether it was a preflight, which is then answered. */
  apply(request: IncomingMessage, response: ServerResponse): boolean;
} {
  const own = new URL(config.apiUrl);
  const allowed = [...config.consoleUrl, ...config.corsOrigins, config.pagesHost, own.origin]
    .map(parse)
    .filter((item) => item !== undefined);

  const matches = (origin: string, list: Allowed[]): boolean => {
    let url: URL;
    try {
      url = new URL(origin);
    } catch {
      return false;
    }
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
    // The parsed host is compared, label by label: `pages.example.org.evil.tld` and `xpages.example.org` are other hosts.
    return list.some(({ protocol, host }) => {
      if (protocol && protocol !== url.protocol) return false;
      if (!host.startsWith('.')) return url.hostname === host;
      return url.hostname.endsWith(host) && /^[a-z0-9-]+$/.test(url.hostname.slice(0, -host.length));
    });
  };

  const isAllowed = (origin: string): boolean => matches(origin, allowed);
  const trusted = [...config.consoleUrl, ...config.corsOrigins, own.origin].map(parse).filter((item) => item !== undefined);

  return {
    isAllowed,
    isPage: (origin) => origin !== undefined && isAllowed(origin) && !matches(origin, trusted),
    apply(request, response) {
      const { origin } = request.headers;
      const isPreflight = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
      if (origin !== undefined) {
        response.setHeader('vary', 'Origin');
        if (isAllowed(origin)) {
          response.setHeader('access-control-allow-origin', origin);
          response.setHeader('access-control-allow-credentials', 'true');
          response.setHeader('access-control-expose-headers', EXPOSED);
          if (isPreflight) {
            response.setHeader('access-control-allow-methods', METHODS);
            const wanted = request.headers['access-control-request-headers'];
            if (wanted && /^[\w, -]{1,1000}$/.test(wanted)) response.setHeader('access-control-allow-headers', wanted);
            response.setHeader('access-control-max-age', MAX_AGE_S);
          }
        }
      }
      if (!isPreflight) return false;
      response.writeHead(204).end();
      return true;
    },
  };
}
