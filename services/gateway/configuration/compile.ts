/**
 * compile — the configuration as something that answers quickly which pipeline a request belongs to, and which of its policies apply.
 * Order is that of the file: pipelines as listed, endpoints as a pipeline lists them; the first whose path, method and host match wins.
 */
import type { Condition, GatewayConfiguration, Policy, Target } from './read.ts';

export interface Found {
  pipeline: string;
  params: Record<string, string>;
  /** The policies that apply to this request, in order. */
  policies: Policy[];
}

export interface Compiled {
  /** Whether there is any pipeline. */
  hasPipelines: boolean;
  find(method: string, path: string, host: string): Found | undefined;
  services: Record<string, Target>;
  limits: GatewayConfiguration['limits'];
}

interface Matcher {
  test(path: string): Record<string, string> | undefined;
}

const literal = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');

/** `:name` is one segment, `*` anything; letter case and a last slash do not matter. Every pattern is linear: no repetition inside another. */
function pathMatcher(pattern: string): Matcher {
  const names: string[] = [];
  const source = literal(pattern.replace(/\/$/, ''))
    .replace(/:(\w+)/g, (_, name: string) => {
      names.push(name);
      return '([^/]+)';
    })
    .replaceAll('*', '.*');
  const expression = new RegExp(`^${source}/?$`, 'is');
  return {
    test(path) {
      const found = expression.exec(path);
      return found ? Object.fromEntries(names.map((name, index) => [name, found[index + 1] as string])) : undefined;
    },
  };
}

function regexpMatcher(source: string): Matcher {
  const expression = new RegExp(source);
  return { test: (path) => (expression.test(path) ? {} : undefined) };
}

/** `paths` alone are prefixes; with `methods` they are whole patterns. */
function conditionOf(match: Condition | undefined): (method: string, path: string) => boolean {
  if (!match) return () => true;
  const { paths, methods } = match;
  const verbs = methods && new Set(methods);
  const whole = verbs && paths?.map(pathMatcher);
  const prefixes = verbs ? undefined : paths?.map((path) => path.toLowerCase());
  return (method, path) => {
    if (verbs && !verbs.has(method)) return false;
    if (whole) return whole.some((matcher) => matcher.test(path));
    return !prefixes || prefixes.some((prefix) => path.toLowerCase().startsWith(prefix));
  };
}

export function compileConfiguration({ services, endpoints, pipelines, limits }: GatewayConfiguration): Compiled {
  const entries = pipelines.flatMap(({ name, endpoints: used, policies }) => {
    const conditional = policies.map((policy) => ({ policy, applies: conditionOf(policy.match) }));
    return used.map((endpointName) => {
      const { paths, pathRegexp, methods, hosts } = endpoints[endpointName] as GatewayConfiguration['endpoints'][string];
      return {
        name,
        conditional,
        matchers: pathRegexp ? [regexpMatcher(pathRegexp)] : paths.map(pathMatcher),
        methods: methods && new Set(methods),
        hosts: hosts.map((host) => new RegExp(host, 'i')),
      };
    });
  });
  return {
    hasPipelines: entries.length > 0,
    services,
    limits,
    find(method, path, host) {
      for (const { name, conditional, matchers, methods, hosts } of entries) {
        if (methods && !methods.has(method)) continue;
        if (hosts.length > 0 && !hosts.some((expression) => expression.test(host))) continue;
        for (const matcher of matchers) {
          const params = matcher.test(path);
          if (!params) continue;
          return {
            pipeline: name,
            params,
            policies: conditional.filter(({ applies }) => applies(method, path)).map(({ policy }) => policy),
          };
        }
      }
      return undefined;
    },
  };
}
