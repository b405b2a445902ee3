/**
 * workspaces — edition on the embedded stores: import of an archive, read of a workspace, save of one automation, each at 10, 100 and 1000 automations
 * (growth is what matters), the time until a save can be read at its new revision elsewhere and until it runs, and a list of 10 000 workspaces under
 * one's rights.
 */
import { strToU8, zipSync } from 'fflate';
import { writeYaml } from '../services/workspaces/dsul/yaml.ts';
import { expectOk, newUser } from '../test/support/client.ts';
import { eventually } from '../test/support/eventually.ts';
import { startPlatform } from '../test/support/platform.ts';
import { type Caller, startWorkspaces, upload, type WorkspaceServices } from '../test/support/workspace-services.ts';
import { median, type Row } from './row.ts';

const SIZES = [10, 100, 1000];
const LISTED = 10_000;

const automation = (n: number) => ({
  name: `Automation ${n}`,
  when: { events: [`event.${n}`] },
  do: Array.from({ length: 15 }, (_, step) => ({ set: { name: `value${step}`, value: { from: '{{payload.name}}', list: [1, 2, 3] } } })),
});

async function timed(times: number, work: (n: number) => Promise<unknown>): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < times; n++) {
    const startedAt = performance.now();
    await work(n);
    taken.push(performance.now() - startedAt);
  }
  return taken;
}

const round = (ms: number) => Number(ms.toFixed(1));
const p99 = (values: number[]) => [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1] as number;

function archiveOf(size: number): Uint8Array {
  const files: Record<string, Uint8Array> = { 'current/index.yml': strToU8('name: Bench\n') };
  for (let n = 0; n < size; n++) files[`current/automations/a${n}.yml`] = strToU8(writeYaml(automation(n)));
  return zipSync(files);
}

async function edition(platform: WorkspaceServices, ada: Caller, size: number): Promise<Row[]> {
  const { id: workspaceId } = await ada.call('workspaces.create', { body: { name: `Bench ${size}` } });
  const body = { files: [upload('workspace.zip', archiveOf(size), 'application/zip', 'archive')] };
  const [imported] = await timed(1, () => ada.call('archives.import', { workspaceId, body }));
  const reads = await timed(31, () => ada.call('workspaces.get', { workspaceId }));
  const save = (n: number) => ada.call('automations.update', { workspaceId, slug: 'a1', body: { ...automation(1), output: n } });
  const saves = await timed(51, save);
  const visible = await timed(51, async (n) => {
    await save(100 + n);
    const model = await platform.system.call('workspaces.model', { workspaceId });
    if (model.automations.a1.output !== 100 + n) throw new Error('a save was not visible after it was answered');
  });
  return [
    {
      name: `import of ${size} automations`,
      value: round(imported as number),
      unit: 'ms',
      ...(size === 100 ? { goal: 'under 1000' } : {}),
    },
    { name: `read of a workspace of ${size}, median`, value: round(median(reads)), unit: 'ms' },
    { name: `save of one automation of ${size}, median`, value: round(median(saves)), unit: 'ms' },
    { name: `save until the model has it, ${size}, p99`, value: round(p99(visible)), unit: 'ms', goal: 'under 200' },
  ];
}

/** A person saves over REST and asks a webhook at once, until it answers as saved: the whole way through gateway, store, bus and runtime. */
async function savedUntilRun(): Promise<Row> {
  const platform = await startPlatform({ mode: 'embedded' });
  try {
    const owner = await newUser(platform.url, 'bench');
    const { id } = await expectOk(owner.post('/workspaces', { name: 'Bench' }));
    for (let n = 0; n < 100; n++) await expectOk(owner.post(`/workspaces/${id}/automations`, { ...automation(n), slug: `a${n}` }));
    const hello = (output: number) => ({ name: 'Hello', slug: 'hello', when: { endpoint: true }, do: [], output: { output } });
    await expectOk(owner.post(`/workspaces/${id}/automations`, hello(0)));
    const answer = async () => (await owner.post(`/workspaces/${id}/webhooks/hello`, {})).body?.output;
    await eventually(async () => (await answer()) === 0);
    const taken: number[] = [];
    for (let n = 1; n <= 51; n++) {
      await expectOk(owner.patch(`/workspaces/${id}/automations/hello`, hello(n)));
      const savedAt = performance.now();
      while ((await answer()) !== n);
      taken.push(performance.now() - savedAt);
    }
    return { name: 'save answered until a webhook runs it, 100 automations, p99', value: round(p99(taken)), unit: 'ms', goal: 'under 200' };
  } finally {
    await platform.stop();
  }
}

export async function rows(): Promise<Row[]> {
  const ran = await savedUntilRun();
  const platform = await startWorkspaces({ check: () => ({ problems: [] }) });
  try {
    const ada = platform.as('ada');
    const result: Row[] = [];
    for (const size of SIZES) result.push(...(await edition(platform, ada, size)));

    const { store } = platform.broker.getLocalService('workspaces') as any;
    for (let n = 0; n < LISTED; n++)
      await store.documents.insert('workspaces', {
        id: `bench${n}`,
        name: `Bench ${n}`,
        slug: `bench-${n}`,
        permissions: { [n % 10 === 0 ? 'ada' : `user${n % 50}`]: { role: 'owner' } },
        versions: [],
        revision: 1,
        createdAt: new Date(n).toISOString(),
        updatedAt: new Date(n).toISOString(),
      });
    const lists = await timed(11, () => ada.call('workspaces.list', { query: { limit: '2000' } }));
    return [
      ...result,
      ran,
      { name: `list of 1000 readable workspaces of ${LISTED}, median`, value: round(median(lists)), unit: 'ms', goal: 'under 100' },
    ];
  } finally {
    await platform.stop();
  }
}
