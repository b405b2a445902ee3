/** readiness — what the runtime cannot work without: its stores, the models it compiles, the gateway that signs the tokens of runs. */
import type { Service } from 'moleculer';
import type { AuthMethods } from '../../mixins/auth/contract.ts';
import type { BusMethods } from '../../mixins/bus/contract.ts';
import type { Check } from '../../mixins/readiness/contract.ts';
import { brokerCheck, cacheCheck, databaseCheck } from '../../mixins/readiness/stores.ts';
import { configOf } from '../../mixins/shared/config.ts';
import { fault } from '../../mixins/shared/errors.ts';
import type { CacheDriver } from '../../mixins/storage/cache/contract.ts';
import type { DocumentsDriver } from '../../mixins/storage/documents/contract.ts';
import { SCHEDULES_COLLECTION } from './schedules.ts';

type Self = Service & AuthMethods & BusMethods & { cache: CacheDriver; documents: DocumentsDriver };

const ASK_TIMEOUT_MS = 1_500;

export function runtimeChecks(self: Self): Check[] {
  const config = configOf(self.broker);
  return [
    cacheCheck(config, self.cache),
    brokerCheck(config, self.bus),
    databaseCheck(config, self.documents, SCHEDULES_COLLECTION, 'databases'),
    {
      // Models are read through the service that owns them.
      module: 'modelStorage',
      driver: 'workspaces',
      check: () =>
        self.broker.call(
          'workspaces.revisions',
          { workspaceIds: ['readiness'] },
          { meta: self.systemMeta() as object, timeout: ASK_TIMEOUT_MS },
        ),
    },
    { module: 'gateway', driver: config.transporterUrl ? 'transporter' : 'process', check: () => gatewayAnswers(self) },
  ];
}

async function gatewayAnswers({ broker }: Self): Promise<void> {
  const services = broker.registry.getServiceList({ onlyAvailable: true }) as unknown as { name: string; nodeID: string }[];
  const nodes = services.filter(({ name }) => name === 'gateway').map(({ nodeID }) => nodeID);
  if (nodes.includes(broker.nodeID)) return;
  const answers = await Promise.all(nodes.map((nodeID) => broker.ping(nodeID, ASK_TIMEOUT_MS)));
  if (!answers.some(Boolean)) throw fault('ServiceUnavailable', { message: 'No gateway answers.' });
}
