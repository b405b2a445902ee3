/**
 * readiness — gives a service the action `<service>.readiness`: whether what it stands on works, seen from the node that is asked. The gateway asks every
 * node (services/gateway/readiness.ts). Looks that overlap are one look, so that asking often costs no more.
 */
import type { Service, ServiceSchema } from 'moleculer';
import { CHECK_TIMEOUT_MS, runChecks } from './checks.ts';
import type { Check, Module, Readiness } from './contract.ts';

type Self = Service & { looking?: Promise<Readiness>; failing?: Set<string>; hanging?: Map<string, Promise<unknown>> };

/** @param checksOf what the service stands on; read at each look, once the service has started */
export function readiness<S extends Service>(
  checksOf: (self: S) => Check[],
  timeoutMs = CHECK_TIMEOUT_MS,
): Partial<ServiceSchema<object, any>> {
  return {
    actions: {
      /** Whether the modules of this node work. */
      readiness: {
        visibility: 'public',
        identity: 'system',
        handler(this: Self): Promise<Readiness> {
          this.looking ??= look(this, checksOf(this as unknown as S), timeoutMs).finally(() => {
            this.looking = undefined;
          });
          return this.looking;
        },
      },
    } as never,
  };
}

/** A module that hangs is waited for further, not asked once more by each look. */
function once(self: Self, { module, driver, check }: Check): Check {
  self.hanging ??= new Map();
  const { hanging } = self;
  return {
    module,
    driver,
    check() {
      const known = hanging.get(module);
      if (known) return known;
      const asked = (async () => check())().finally(() => hanging.delete(module));
      hanging.set(module, asked);
      // The look may be over by the time it fails.
      asked.catch(() => {});
      return asked;
    },
  };
}

/** The log tells when a module stops working, and when it works again; not each time somebody looks. */
async function look(self: Self, checks: Check[], timeoutMs: number): Promise<Readiness> {
  const known = self.failing ?? new Set<string>();
  const failing = new Set<string>();
  self.failing = failing;
  const told = ({ module }: Module, error: unknown): void => {
    failing.add(module);
    if (!known.has(module)) self.logger.warn(`Readiness: '${module}' does not work: ${(error as Error)?.message ?? error}`);
  };
  const looks = checks.map((check) => once(self, check));
  const answer = await runChecks(looks, told, timeoutMs);
  for (const { module } of answer.modulesReady) if (known.has(module)) self.logger.info(`Readiness: '${module}' works again.`);
  return answer;
}
