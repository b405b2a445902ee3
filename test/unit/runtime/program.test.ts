import { describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../../mixins/shared/json.ts';
import { compileWorkspace } from '../../../services/runtime/interpreter/index.ts';
import type { LoadedModel } from '../../../services/runtime/models.ts';
import { programOf } from '../../../services/runtime/program.ts';

interface Parts {
  automations: Record<string, JsonObject>;
  config?: JsonObject;
  imports?: Record<string, JsonObject>;
  apps?: Record<string, Parts>;
}

function model({ automations, config = {}, imports = {}, apps = {} }: Parts, instance = ''): LoadedModel {
  const children = new Map(Object.entries(apps).map(([slug, app]) => [slug, model(app, instance ? `${instance}.${slug}` : slug)]));
  return {
    instance,
    workspace: compileWorkspace({ id: 'w', revision: 1, config: { value: config }, imports, automations }),
    children,
    child: (slug: string) => children.get(slug),
  } as unknown as LoadedModel;
}

type Files = Omit<Parts, 'apps'> & { app: Parts };

const files = (): Files => ({
  config: { url: 'https://a' },
  imports: { inst: { appSlug: 'App', config: { mode: '{{config.url}}' } } },
  automations: {
    start: { name: 'Start', do: [{ step: { x: 1 } }, { 'inst.work': {} }] },
    step: { do: [{ conditions: { '{{x}}': [{ deep: {} }] } }] },
    deep: { do: [] },
    other: { do: [] },
    chooses: { do: [{ runWorkflow: { workflow: '{{name}}' } }] },
  },
  app: { automations: { work: { do: [{ fetch: { url: '{{config.mode}}' } }] }, idle: { do: [] } } },
});
const programAfter = (change: (files: Files) => void, automation: string) => {
  const { app, ...workspace } = withChange(change);
  return programOf(model({ ...workspace, apps: { inst: app } }), automation);
};
const withChange = (change: (files: Files) => void): Files => {
  const changed = files();
  change(changed);
  return changed;
};
const changes = (automation: string, change: (files: Files) => void): boolean =>
  programAfter(change, automation) !== programAfter(() => {}, automation);

const otherwise = { do: [{ emit: { event: 'more' } }] };
/** Writes an automation of the workspace, or of the app. */
const own =
  (slug: string, automation: JsonObject = otherwise) =>
  ({ automations }: Files) =>
    void Object.assign(automations, { [slug]: automation });
const apps =
  (slug: string) =>
  ({ app }: Files) =>
    void Object.assign(app.automations, { [slug]: otherwise });
const configured = (value: JsonObject) => (all: Files) => void Object.assign(all, { config: value });

describe('the program of a run', () => {
  it.each<[string, (files: Files) => void]>([
    ['an automation it does not call', own('other')],
    ['a new automation', own('new')],
    ['an automation of the app that it does not call', apps('idle')],
    [
      'its name, its description or a trigger',
      own('start', { ...files().automations.start, name: 'X', description: 'x', when: { events: ['x'] } }),
    ],
  ])('stays when %s is changed', (_, change) => {
    expect(changes('start', change)).toBe(false);
  });

  it.each<[string, (files: Files) => void]>([
    ['itself', own('start')],
    ['what it calls', own('step')],
    ['what that calls, in a block', own('deep')],
    ['the automation of an app', apps('work')],
    ['the configuration of the instance', ({ imports }) => void Object.assign(imports?.inst ?? {}, { config: { mode: 'slow' } })],
    ['the configuration the instance asks for', configured({ url: 'https://b' })],
  ])('changes with %s', (_, change) => {
    expect(changes('start', change)).toBe(true);
  });

  it('does not change with a configuration that nothing it executes speaks of', () => {
    expect(changes('deep', configured({ url: 'https://b' }))).toBe(false);
  });

  it('is every automation it may call when the name is computed', () => {
    expect(changes('chooses', own('other'))).toBe(true);
    expect(changes('chooses', apps('idle'))).toBe(true);
  });

  it('ends where automations call each other', () => {
    const round = model({ automations: { a: { do: [{ b: {} }] }, b: { do: [{ a: {} }] } } });

    expect(programOf(round, 'a')).toBe(programOf(round, 'b'));
  });

  it('of an automation of an app is found by its full name', () => {
    expect(changes('inst.work', apps('work'))).toBe(true);
    expect(changes('inst.work', own('start'))).toBe(false);
  });
});
