/** modules — the built-in modules of the `run` instruction: `run: { module, function, parameters }`. One file each; this is the list. */

import type { AuthMethods } from '../../../mixins/auth/contract.ts';
import type { EventBus } from '../../../mixins/bus/contract.ts';
import { fault } from '../../../mixins/shared/errors.ts';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import type { KeyRing } from '../../../mixins/shared/keyring.ts';
import type { CacheDriver } from '../../../mixins/storage/cache/contract.ts';
import type { DocumentsDriver } from '../../../mixins/storage/documents/contract.ts';
import type { Frame } from '../interpreter/index.ts';
import type { Organisations } from '../organisations.ts';
import type { RunRequest } from '../runs.ts';
import { accessManager } from './access-manager.ts';
import { collections } from './collections.ts';
import { cryptoModule } from './crypto.ts';
import { type OpenOptions, openReferences, secrets } from './secrets.ts';
import { text } from './text.ts';

export interface ModuleServices {
  cache: CacheDriver;
  documents: DocumentsDriver;
  bus: EventBus;
  keys: () => KeyRing;
  auth: Pick<AuthMethods, 'abilityFor'>;
  organisations: Organisations;
  /** Slug of a workspace. */
  slugOf(workspaceId: string): Promise<string>;
  /** An action of another service, in the name of the runtime. */
  call(action: string, params: object, correlationId: string): Promise<unknown>;
}

export interface ModuleCall {
  parameters: JsonObject;
  frame: Frame;
  request: RunRequest;
  services: ModuleServices;
  /** Of a run that survives its node: the same whenever this effect is performed again. */
  operation?: Operation;
}

export interface Operation {
  key: string;
  /** Milliseconds, the same in every repetition. */
  at: number;
}

/** A module: its functions by name. */
export type Module = Record<string, (call: ModuleCall) => unknown>;

export const MODULES: Record<string, Module> = {
  collections,
  crypto: cryptoModule,
  secrets,
  text,
  'access-manager': accessManager,
  accessManager,
};

export interface Modules {
  /** @throws InvalidInstructionError for an unknown module or function, and what the function throws */
  call(
    effect: { module: string; function: string; parameters: JsonObject },
    frame: Frame,
    request: RunRequest,
    operation?: Operation,
  ): Promise<unknown>;
  openReferences<T>(value: T, request: RunRequest, options?: OpenOptions): Promise<{ value: T; texts: string[] }>;
}

export function createModules(services: ModuleServices): Modules {
  return {
    async call(effect, frame, request, operation) {
      const module = Object.hasOwn(MODULES, effect.module) ? MODULES[effect.module] : undefined;
      if (!module)
        throw fault('InvalidInstructionError', {
          message: `There is no module '${effect.module}'. Modules: ${Object.keys(MODULES).join(', ')}.`,
          data: { module: effect.module },
        });
      const perform = Object.hasOwn(module, effect.function) ? module[effect.function] : undefined;
      if (!perform)
        throw fault('InvalidInstructionError', {
          message: `The module '${effect.module}' has no function '${effect.function}'. Functions: ${Object.keys(module).join(', ')}.`,
          data: { module: effect.module, function: effect.function },
        });
      return perform({ parameters: effect.parameters ?? {}, frame, request, services, ...(operation ? { operation } : {}) });
    },
    openReferences: (value, request, options) => openReferences(value, request, services, options),
  };
}
