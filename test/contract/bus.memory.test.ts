/** The bus on the memory carrier of tests: it must promise what the real ones promise, or tests on it prove nothing. */
import { memoryStore, openMemory } from '../../mixins/bus/carriers/memory/carrier.ts';
import { busContract } from './bus.suite.ts';

busContract('memory', async () => {
  const store = memoryStore();
  return { config: {}, carrier: (options) => openMemory(store, options), remove: async () => {} };
});
