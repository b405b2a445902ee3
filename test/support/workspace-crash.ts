/**
 * workspace-crash — a process made to be killed: changes workspaces without end, one generation after the other, and tells on its output
 * which ones it was told are done. Started by test/crash/workspaces.test.ts with a data folder and, for files that are not in it, their URL.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADA, newRow, testStore } from './workspace-store.ts';

const [dataDir, filesUrl] = process.argv.slice(2) as [string, string | undefined];
const log = join(dataDir, 'events.log');
const { store } = await testStore(
  {
    send: async (events) =>
      appendFileSync(log, events.map(({ id, type, payload }) => `${JSON.stringify([id, type, payload.generation])}\n`).join('')),
  },
  dataDir,
  filesUrl,
);
export const OBJECTS = 20;
const automation = (generation: number) => ({ name: `Generation ${generation}`, generation, do: [] });

if (!(await store.findRow('main')))
  await store.create(newRow('main'), ADA, (draft) => void draft.putIndex({ id: 'main', name: 'Main', slug: 'main', generation: 0 }));
await store.recover();

for (;;) {
  const { snapshot } = await store.current('main');
  const generation = Number(snapshot.index.generation) + 1;
  // As an import with prune: many files, some new, some gone.
  await store.change('main', ADA, (draft) => {
    draft.putIndex({ ...draft.index, generation });
    for (let n = 0; n < OBJECTS; n++) draft.put('automations', `a/${n}`, automation(generation));
    for (const slug of Object.keys(draft.all('automations'))) if (slug.startsWith('only-')) draft.remove('automations', slug);
    draft.put('automations', `only-${generation}`, automation(generation));
    const old = Object.keys(draft.all('automations')).find((slug) => slug.startsWith('renamed-'));
    draft.put('automations', `renamed-${generation}`, automation(generation), old ? { oldSlug: old } : {});
    draft.event('generation', { generation });
  });
  process.stdout.write(`${generation}\n`);
  await store.change('main', ADA, (draft) => {
    const known = draft.row.versions;
    draft.setRow({ versions: [{ name: `v${generation}`, description: '', createdAt: draft.now }, ...known].slice(0, 3) });
    draft.step({ do: 'copyAll', from: 'workspaces/main/versions/current', to: `workspaces/main/versions/v${generation}` });
    for (const old of known.slice(2)) draft.step({ do: 'removeAll', prefix: `workspaces/main/versions/${old.name}` });
  });
  await store.create(newRow(`tmp${generation}`), ADA, (draft) => {
    draft.putIndex({ id: `tmp${generation}`, name: 'Tmp', slug: `tmp${generation}` });
    for (let n = 0; n < 5; n++) draft.put('automations', `a${n}`, automation(generation));
  });
  await store.remove(`tmp${generation}`, ADA, () => {});
}
