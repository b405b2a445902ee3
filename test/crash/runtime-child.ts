/** runtime-child — a process that runs the runtime service only, over Redis; killed by its parent in the middle of things. */
import { ServiceBroker } from 'moleculer';
import { loadConfig } from '../../mixins/shared/config.ts';
import { brokerOptions } from '../../moleculer.config.ts';
import runtime from '../../services/runtime/runtime.service.ts';

const broker = new ServiceBroker({ ...brokerOptions(loadConfig()), logger: false });
broker.createService(runtime);
await broker.start();
process.stdout.write('ready\n');
