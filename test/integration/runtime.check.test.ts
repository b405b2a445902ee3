/** What the compiler says on save: the same findings as `npm run lint:workspace`, without blaming what the workspace already has. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { zipOf } from '../support/archive.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';
import { upload } from '../support/workspace-services.ts';

let runtime: RuntimeServices;
beforeAll(async () => {
  runtime = await startRuntime();
  runtime.broker.createService((await import('../../services/workspaces/archives.service.ts')).default);
  await runtime.broker.waitForServices('archives');
}, 60_000);
afterAll(() => runtime.stop());

const codes = ({ warnings = [] }: { warnings?: { code: string }[] }) => warnings.map(({ code }) => code);

describe('saving an automation', () => {
  it('answers with every finding, its place and what was meant', async () => {
    const id = await runtime.workspace({ createOrder: { do: [] } });

    const saved = (await runtime.call('automations.create', {
      workspaceId: id,
      body: {
        slug: 'a',
        name: 'A',
        do: [{ creatOrder: {} }, { set: { name: 'x', valeu: 1 } }, { set: { name: 'y', value: '{% 1 + %}' } }],
      },
    })) as any;

    expect(codes(saved).sort()).toEqual(['InvalidExpressionSyntax', 'MissingArgument', 'UnknownArgument', 'UnknownAutomation']);
    expect(saved.warnings).toContainEqual(
      expect.objectContaining({
        code: 'UnknownAutomation',
        suggestion: "Did you mean 'createOrder'?",
        place: expect.objectContaining({ path: 'automations.a.do[0].creatOrder' }),
      }),
    );
  });

  it('does not warn of calls of its neighbours', async () => {
    const id = await runtime.workspace({ other: { do: [] }, a: { do: [] } });

    const saved = (await runtime.call('automations.update', { workspaceId: id, slug: 'a', body: { do: [{ other: {} }] } })) as any;

    expect(codes(saved)).toEqual([]);
  });
});

describe('importing an archive', () => {
  it('tells file, line and column, and knows the instances that come with it', async () => {
    const id = await runtime.workspace({});
    const files = {
      'automations/a.yml': 'name: A\ndo:\n  - Mail.send: {}\n  - b: {}\n  - set: { name: x, value: "{% nope() %}" }\n',
      'automations/b.yml': 'name: B\ndo: []\n',
      'imports/Mail.yml': 'appSlug: Mailer\n',
    };
    const archive = upload('w.zip', zipOf(files), 'application/zip', 'archive');

    const imported = (await runtime.call('archives.import', { workspaceId: id, body: { files: [archive] } })) as any;

    const found = imported.warnings.filter(({ code }: { code: string }) => code !== 'AppNotFound');
    expect(found).toContainEqual(
      expect.objectContaining({
        code: 'InvalidExpressionSyntax',
        place: { file: 'automations/a.yml', path: 'automations.a.do[2].set.value', line: 5, column: 32 },
      }),
    );
    expect(codes({ warnings: found })).not.toContain('UnknownAutomation');
  });
});
