/** browser — what of a browser a sign-in needs: a jar of cookies, and redirects followed one at a time. Ports share a jar, as they do in browsers. */

export interface Step {
  status: number;
  headers: Headers;
  text: string;
  /** Of a redirect, absolute. */
  location?: string;
}

export interface Browser {
  cookies: Map<string, string>;
  go(url: string, init?: { method?: string; form?: Record<string, string>; headers?: Record<string, string> }): Promise<Step>;
  /** Follows redirects until one leads to an address that starts with `until`, or there is none; returns the last step and where it stands. */
  follow(url: string, until?: string): Promise<Step & { url: string }>;
}

interface Jar {
  value: string;
  path: string;
}

/** @param reach sends requests for an origin to another one: a balancer */
export function browser(reach: (url: string) => string = (url) => url): Browser {
  const jar = new Map<string, Jar>();
  const self: Browser = {
    get cookies() {
      return new Map([...jar].map(([key, { value }]) => [key.split('|')[0] as string, value]));
    },
    async go(url, { method = 'GET', form, headers = {} } = {}) {
      const { pathname } = new URL(url);
      const sent = [...jar].filter(([, { path }]) => pathname.startsWith(path)).map(([key, { value }]) => `${key.split('|')[0]}=${value}`);
      const response = await fetch(reach(url), {
        method,
        redirect: 'manual',
        headers: { accept: method === 'GET' ? 'text/html' : '*/*', ...(sent.length ? { cookie: sent.join('; ') } : {}), ...headers },
        ...(form ? { body: new URLSearchParams(form) } : {}),
      });
      for (const text of response.headers.getSetCookie()) {
        const [pair = '', ...attributes] = text.split(';').map((part) => part.trim());
        const equals = pair.indexOf('=');
        const [name, value] = [pair.slice(0, equals), pair.slice(equals + 1)];
        const attribute = (wanted: string) =>
          attributes
            .find((item) => item.toLowerCase().startsWith(`${wanted}=`))
            ?.split('=')
            .slice(1)
            .join('=');
        const path = attribute('path') ?? '/';
        const isOver = attribute('max-age') === '0' || value === '' || new Date(attribute('expires') ?? '2999').getTime() < Date.now();
        if (isOver) jar.delete(`${name}|${path}`);
        else jar.set(`${name}|${path}`, { value, path });
      }
      const location = response.headers.get('location');
      return {
        status: response.status,
        headers: response.headers,
        text: await response.text(),
        ...(location ? { location: new URL(location, url).href } : {}),
      };
    },
    async follow(url, until) {
      for (let hops = 0; hops < 15; hops++) {
        const step = await self.go(url);
        if (!step.location) return { ...step, url };
        url = step.location;
        if (until && url.startsWith(until)) return { ...step, url };
      }
      throw new Error(`too many redirects, the last to ${url}`);
    },
  };
  return self;
}
