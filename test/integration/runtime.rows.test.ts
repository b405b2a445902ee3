/**
 * The rows of the conformance checklist, each by its number: what automations written for the reference rely on (K), and what it did wrong
 * and must not come back (F). The real language, stores, rights and bus; called as the gateway calls.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { JsonObject } from '../../mixins/shared/json.ts';
import { eventually } from '../support/eventually.ts';
import { type RuntimeServices, startRuntime } from '../support/runtime-services.ts';

let runtime: RuntimeServices;
beforeAll(async () => {
  runtime = await startRuntime({
    schedulesMinIntervalS: 1,
    open: { WORKSPACE_CONFIG_rows_mode: 'of the environment', WORKSPACE_CONFIG_rows_more: 'from outside' },
  });
}, 60_000);
afterAll(() => runtime.stop());

let serial = 0;
const body = async (answer: Promise<{ body: unknown }>) => (await answer).body as any;
const executed = (id: string) => runtime.of(id, 'runtime.automations.executed');

/** Output of one automation made for the occasion. */
async function outputOf(output: unknown, steps: object[] = [], input: JsonObject = {}): Promise<any> {
  const id = await runtime.workspace({ it: { when: { endpoint: true }, do: steps, output } as JsonObject });
  return body(runtime.webhook(id, 'it', input));
}

async function published(automations: Record<string, JsonObject>, config: JsonObject = {}) {
  const slug = `Row${++serial}`;
  const source = await runtime.workspace(automations, { config });
  const publish = () => runtime.call('apps.publish', { body: { workspaceId: source, slug, name: `${slug} ${++serial}` } });
  return {
    slug,
    source,
    publish,
    install: (workspaceId: string, instance: string, instanceConfig: unknown = {}) =>
      runtime.call('appInstances.install', { workspaceId, body: { appSlug: slug, slug: instance, config: instanceConfig } }),
  };
}

describe('expressions and variables', () => {
  it('#1 a template that is the whole text keeps the type of its value', async () => {
    const output = { n: '{{n}}', b: '{{b}}', a: '{{a}}', z: '{{z}}' };
    const values = { n: 4.5, b: false, a: [1, 'x'], z: null };

    expect(
      await outputOf(
        output,
        Object.entries(values).map(([name, value]) => ({ set: { name, value } })),
      ),
    ).toEqual(values);
  });

  it('#2 what is missing inside a text is nothing', async () => {
    expect(await outputOf({ text: 'a {{missing}} b' })).toEqual({ text: 'a  b' });
  });

  it('#3 or gives the first that counts', async () => {
    expect(await outputOf({ d: '{% {{missing}} or "d" %}' })).toEqual({ d: 'd' });
  });

  it('#4 == compares across types, != and not equals as the reference did', async () => {
    const output = { ne: '{% 1 != "1" %}', eq: '{% 1 == "1" %}', not: '{% "1" not equals 1 %}' };

    expect(await outputOf(output)).toEqual({ ne: true, eq: true, not: false });
  });

  it('#5 a number is found in a text', async () => {
    expect(await outputOf({ found: '{% {{body.n}} in "1,2" %}' }, [], { n: 1 })).toEqual({ found: true });
  });

  it('#6 dates are taken apart in UTC, and written for a place', async () => {
    const output = {
      hour: '{% date("2022-04-13T08:00:05Z").hour %}',
      day: '{% date("2022-04-13T08:00:05Z").day %}',
      there: '{% date("2022-04-13T08:00:05Z", "LT", "fr", "America/New_York") %}',
    };

    expect(await outputOf(output)).toEqual({ hour: 8, day: 3, there: '04:00' });
  });

  it('#7 set replaces, pushes and merges by the table', async () => {
    const set = (name: string, value: unknown, type?: string) => ({ set: { name, value, ...(type ? { type } : {}) } });
    const steps = [
      ...[set('replaced', { a: 1 }), set('replaced', 2)],
      ...[set('pushed', [1]), set('pushed', [2], 'push'), set('pushed[]', 3)],
      ...[set('lost', 'x'), set('lost', 1, 'push')],
      ...[set('joined', [1]), set('joined', [2, 3], 'merge'), set('joined', 4, 'merge')],
      ...[set('each', [1]), set('each[]', [2, 3], 'merge')],
      ...[set('shallow', { a: { x: 1 }, b: 1 }), set('shallow', { a: { y: 2 } }, 'merge')],
      ...[set('kept', { a: 1 }), set('kept', [9], 'merge'), set('kept', 'text', 'merge'), set('kept', null, 'merge')],
      ...[set('fresh', { a: 1 }, 'merge'), set('text', 'x'), set('text', { a: 1 }, 'merge')],
    ];
    const names = ['replaced', 'pushed', 'lost', 'joined', 'each', 'shallow', 'kept', 'fresh', 'text'];

    expect(await outputOf(Object.fromEntries(names.map((name) => [name, `{{${name}}}`])), steps)).toEqual({
      replaced: 2,
      pushed: [1, [2], 3],
      lost: [1],
      joined: [1, 2, 3, 4],
      each: [1, 2, 3],
      shallow: { a: { y: 2 }, b: 1 },
      kept: { a: 1 },
      fresh: { a: 1 },
      text: { a: 1 },
    });
  });

  it('#8 a context written by a called automation is read by its caller', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ child: {} }], output: { a: '{{user.a}}' } },
      child: { do: [{ set: { name: 'user.a', value: 5 } }] },
    });

    expect(await body(runtime.webhook(id, 'it', {}, {}, { userId: 'owner' }))).toEqual({ a: 5 });
  });

  it('#9 variables of a called automation are its own; a loop has item and $index', async () => {
    const id = await runtime.workspace({
      it: {
        when: { endpoint: true },
        do: [{ child: {} }, { repeat: { on: ['x', 'y'], do: [{ set: { name: 'seen[]', value: '{{$index}}{{item}}' } }] } }],
        output: { inner: '{{inner}}', seen: '{{seen}}' },
      },
      child: { do: [{ set: { name: 'inner', value: 1 } }] },
    });

    expect(await body(runtime.webhook(id, 'it'))).toEqual({ seen: ['0x', '1y'] });
  });

  it('#10 break ends its automation; with scope all its callers too, whose output is still given', async () => {
    const id = await runtime.workspace({
      one: { when: { endpoint: true }, do: [{ stops: {} }, { set: { name: 'after', value: true } }], output: { after: '{{after}}' } },
      all: {
        when: { endpoint: true },
        do: [{ stopsAll: {} }, { set: { name: 'after', value: true } }],
        output: { end: 1, after: '{{after}}' },
      },
      stops: { do: [{ break: {} }] },
      stopsAll: { do: [{ break: { scope: 'all' } }] },
    });

    expect(await body(runtime.webhook(id, 'one'))).toEqual({ after: true });
    expect(await body(runtime.webhook(id, 'all'))).toEqual({ end: 1 });
  });
});

describe('apps and events', () => {
  it('#11 what an instance emits carries its name, the session and no user', async () => {
    const app = await published({ send: { do: [{ emit: { event: 'sent', payload: { n: 1 } } }] } });
    await app.publish();
    const id = await runtime.workspace({ it: { when: { endpoint: true }, do: [{ 'mail.send': {} }] } });
    await app.install(id, 'mail');

    await eventually(() => runtime.webhook(id, 'it', {}, {}, { userId: 'owner' }));

    const [event] = await eventually(() => {
      expect(runtime.of(id, 'mail.sent')).toHaveLength(1);
      return runtime.of(id, 'mail.sent');
    });
    expect(event?.source).toMatchObject({ sessionId: 'session-owner', appSlug: app.slug, appInstanceFullSlug: 'mail' });
    expect(event?.source.userId).toBeUndefined();
  });

  it('#12 private automations of an instance, and instances of instances, cannot be called', async () => {
    const inner = await published({ open: { output: 1 } });
    await inner.publish();
    const outer = await published({ hidden: { private: true }, open: { do: [{ 'B.open': { output: 'r' } }], output: '{{r}}' } });
    await inner.install(outer.source, 'B');
    await outer.publish();
    const call = (name: string) => ({ when: { endpoint: true }, do: [{ [name]: { output: 'r' } }], output: { r: '{{r}}' } });
    const id = await runtime.workspace({ pry: call('A.hidden'), deep: call('A.B.open'), fair: call('A.open') });
    await outer.install(id, 'A');

    await eventually(async () => expect(await body(runtime.webhook(id, 'fair'))).toEqual({ r: 1 }));
    await expect(runtime.webhook(id, 'pry')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
    await expect(runtime.webhook(id, 'deep')).rejects.toMatchObject({ type: 'ObjectNotFoundError' });
  });

  it('#13 21 nested calls pass, the 22nd fails', async () => {
    const id = await runtime.workspace({
      nest: {
        when: { endpoint: true },
        do: [
          { conditions: { '{{body.n}}': [{ set: { name: 'n', value: '{{body.n}}' } }] } },
          {
            conditions: {
              '{{n}} > 1': [{ nest: { n: '{% {{n}} - 1 %}', output: 'deepest' } }],
              default: [{ set: { name: 'deepest', value: '{{run.depth}}' } }],
            },
          },
        ],
        output: '{{deepest}}',
      },
    });

    expect(await body(runtime.webhook(id, 'nest', { n: 21 }))).toBe(21);
    await expect(runtime.webhook(id, 'nest', { n: 22 })).rejects.toMatchObject({ type: 'TooManyCallError', code: 400 });
  });

  it('#14 an automation started by an event is one deeper than who emitted it, however many were emitted', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ repeat: { until: 10, do: [{ emit: { event: 'ping', payload: { n: '{{$index}}' } } }] } }] },
      hears: { when: { events: ['ping'] }, do: [{ emit: { event: 'pong', payload: { depth: '{{run.depth}}' } } }] },
    });

    await runtime.webhook(id, 'it');

    await eventually(() => expect(runtime.of(id, 'pong').map(({ payload }) => payload.depth)).toEqual(Array(10).fill(2)));
  });

  it('#15 a wait with cancelTriggers keeps the event to itself; without it both happen', async () => {
    const wait = (event: string, cancelTriggers: boolean) => ({
      when: { endpoint: true },
      do: [
        { emit: { event: `ask.${event}`, output: 'sent' } },
        { wait: { oneOf: [{ event, filters: { 'payload.to': '{{sent.id}}' }, cancelTriggers }], timeout: 20, output: 'r' } },
      ],
      output: { got: '{{r.type}}' },
    });
    const answer = (event: string) => ({ when: { events: [`ask.${event}`] }, do: [{ emit: { event, payload: { to: '{{id}}' } } }] });
    const id = await runtime.workspace({
      alone: wait('one', true),
      together: wait('two', false),
      answerOne: answer('one'),
      answerTwo: answer('two'),
      hears: { when: { events: ['one', 'two', 'last'] }, do: [{ emit: { event: 'heard', payload: { type: '{{run.trigger.value}}' } } }] },
    });

    expect(await body(runtime.webhook(id, 'alone'))).toEqual({ got: 'one' });
    expect(await body(runtime.webhook(id, 'together'))).toEqual({ got: 'two' });
    await runtime.emit(id, 'last');

    await eventually(() =>
      expect(
        runtime
          .of(id, 'heard')
          .map(({ payload }) => payload.type)
          .sort(),
      ).toEqual(['last', 'two']),
    );
  });

  it('#16 session.id switches user, session and the session of later events; back again, the data are back', async () => {
    const id = await runtime.workspace({
      it: {
        when: { endpoint: true },
        do: [
          { set: { name: 'own', value: '{{session.id}}' } },
          { set: { name: 'session.n', value: 1 } },
          { set: { name: 'session.id', value: 'chat-16' } },
          { set: { name: 'there', value: { user: '{{user.id}}', session: '{{session.id}}', n: '{{session.n}}' } } },
          { emit: { event: 'row16' } },
          { set: { name: 'session.id', value: '{{own}}' } },
        ],
        output: { there: '{{there}}', n: '{{session.n}}', user: '{{user.id}}' },
      },
    });

    expect(await body(runtime.webhook(id, 'it', {}, {}, { userId: 'owner' }))).toEqual({
      there: { user: 'chat-16', session: 'chat-16' },
      n: 1,
      user: 'owner',
    });
    await eventually(() => expect(runtime.of(id, 'row16')[0]?.source.sessionId).toBe('chat-16'));
  });

  it('#19 a payload that is a list is told as an error, and the run goes on', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ emit: { event: 'list', payload: '{{body.list}}' } }], output: { went: 'on' } },
    });

    expect(await body(runtime.webhook(id, 'it', { list: [1, 2] }))).toEqual({ went: 'on' });
    await eventually(() => expect(runtime.of(id, 'error')).toHaveLength(1));
    expect(runtime.of(id, 'list')).toHaveLength(0);
  });
});

describe('what is told of a run', () => {
  it('#17 #18 secret arguments are REDACTED for parent, child and outputs; credentials and $http are left out', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ child: { key: '{{body.key}}', output: 'r' } }], output: { r: '{{r}}' } },
      child: { arguments: { key: { type: 'string', secret: true } }, output: 'with {{key}}' },
    });

    await runtime.webhook(id, 'it', { key: 'row17-key' }, { headers: { authorization: 'Bearer row18', accept: '*/*' } });

    await eventually(() => expect(executed(id)).toHaveLength(2));
    const [child, parent] = ['child', 'it'].map((slug) => executed(id).find(({ payload }) => payload.slug === slug)?.payload as any);
    expect(child.payload.key).toBe('REDACTED');
    expect(child.output).toBe('with REDACTED');
    expect(parent.payload.body.key).toBe('REDACTED');
    expect(parent.output.r).toBe('with REDACTED');
    expect(parent.payload.headers).toEqual({ accept: '*/*' });
    expect(parent.payload).not.toHaveProperty('$http');
  });

  it('#17 a secret argument is masked from the moment of the call, also in what the callee causes before it ends', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ child: { key: '{{body.key}}', output: 'r' } }], output: '{{r}}' },
      child: {
        arguments: { key: { type: 'string', secret: true } },
        do: [{ fetch: { url: 'http://127.0.0.1:9/?k={{key}}', output: 'r' } }],
        output: '{{r.error}}',
      },
    });

    await runtime.webhook(id, 'it', { key: 'row17-early' });

    await eventually(() => expect(runtime.of(id, 'runtime.fetch.failed')).toHaveLength(1));
    const payload = runtime.of(id, 'runtime.fetch.failed')[0]?.payload as any;
    expect(payload.request.url).toBe('http://127.0.0.1:9/?k=REDACTED');
  });

  it('#34 a secret that is short or holds quotes is never told, and the payload stays a payload', async () => {
    const id = await runtime.workspace(
      { it: { when: { endpoint: true }, output: { pin: '{{config.pin}}', text: 'it is {{config.odd}}.', n: 11, one: 'no 1 here' } } },
      { config: { pin: '{{secret.pin}}', odd: '{{secret.odd}}', name: '{{secret.name}}' } },
    );
    // Neither what an event calls its fields nor how long something took may be taken for a secret.
    const secrets = {
      pin: { value: '1' },
      odd: { value: 'a"b\\c\nd' },
      name: { value: 'duration' },
      yes: { value: 'true' },
      no: { value: 'false' },
    };
    await runtime.call('secrets.patch', { workspaceId: id, body: secrets });
    let asked = 0;
    const ask = () => {
      asked++;
      return body(runtime.webhook(id, 'it'));
    };
    await eventually(async () => expect((await ask()).pin).toBe('1'));

    for (let n = 0; n < 10; n++) await ask();

    await eventually(() => expect(executed(id)).toHaveLength(asked));
    for (const { payload } of executed(id).slice(-10))
      expect(payload).toMatchObject({
        slug: 'it',
        duration: expect.any(Number),
        break: false,
        output: { pin: 'REDACTED', text: 'it is REDACTED.', n: 11, one: 'no 1 here' },
      });
  });
});

describe('endpoints and rights', () => {
  it('#20 an endpoint nobody has is not found', async () => {
    const id = await runtime.workspace({});

    await expect(runtime.webhook(id, 'nowhere')).rejects.toMatchObject({ type: 'ObjectNotFoundError', code: 404 });
  });

  it('#21 authorizations guard webhooks, nested calls and what events start', async () => {
    const id = await runtime.workspace({
      refund: {
        when: { endpoint: true, events: ['refund.asked'] },
        authorizations: { action: 'refund' },
        do: [{ emit: { event: 'refunded' } }],
        output: 1,
      },
      fire: { when: { endpoint: true }, authorizations: { action: 'fire' }, output: 1 },
      nested: { when: { endpoint: true }, do: [{ refund: { output: 'r' } }], output: '{{r}}' },
      emits: { when: { endpoint: true }, do: [{ emit: { event: 'refund.asked' } }], output: 1 },
    });
    await runtime.call('security.update', {
      workspaceId: id,
      body: {
        authorizations: {
          roles: { editor: {}, agent: { auth: { prismeai: {} } } },
          rules: [
            { role: 'agent', action: 'execute', subject: 'automations', conditions: { 'authorizations.action': { $in: ['refund'] } } },
          ],
        },
      },
    });
    const agent = { userId: 'agent', authData: { prismeai: {} } };
    const forbidden = { type: 'ForbiddenError', code: 403 };

    await expect(runtime.webhook(id, 'refund')).rejects.toMatchObject(forbidden);
    await expect(runtime.webhook(id, 'nested')).rejects.toMatchObject(forbidden);
    await runtime.webhook(id, 'emits');
    await eventually(() => expect(runtime.of(id, 'error').filter(({ payload }) => payload.error === 'ForbiddenError')).toHaveLength(3));
    expect(runtime.of(id, 'refunded')).toHaveLength(0);

    expect(await body(runtime.webhook(id, 'refund', {}, {}, { userId: 'owner' }))).toBe(1);
    await eventually(async () => expect(await body(runtime.webhook(id, 'refund', {}, {}, agent))).toBe(1));
    expect(await body(runtime.webhook(id, 'nested', {}, {}, agent))).toBe(1);
    await expect(runtime.webhook(id, 'fire', {}, {}, agent)).rejects.toMatchObject(forbidden);
    await runtime.webhook(id, 'emits', {}, {}, agent);
    await eventually(() => expect(runtime.of(id, 'refunded').length).toBe(4));
  });

  it('#32 a number as output is that number', async () => {
    const id = await runtime.workspace({ it: { when: { endpoint: true }, output: 5 }, zero: { when: { endpoint: true }, output: 0 } });

    expect(await runtime.webhook(id, 'it')).toMatchObject({ status: 200, body: 5, encoding: 'json' });
    expect(await runtime.webhook(id, 'zero')).toMatchObject({ status: 200, body: 0, encoding: 'json' });
  });

  it('#33 arguments are validated beside a secret one', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ child: { key: '{{body.key}}', n: '{{body.n}}', output: 'r' } }], output: '{{r}}' },
      child: {
        arguments: { key: { type: 'string', secret: true }, n: { type: 'number', required: true } },
        validateArguments: true,
        output: '{{n}}',
      },
    });

    expect(await body(runtime.webhook(id, 'it', { key: 'row33', n: 3 }))).toBe(3);
    await expect(runtime.webhook(id, 'it', { key: 'row33', n: 'three' })).rejects.toMatchObject({ type: 'InvalidArgumentsError' });
  });
});

describe('configuration', () => {
  it('#22 an instance wins over its app, and {{config}} passes a whole configuration down two levels', async () => {
    const inner = await published({ it: { when: { endpoint: true }, output: '{{config}}' } }, { mode: 'of the app', size: 1 });
    await inner.publish();
    const outer = await published({});
    await inner.install(outer.source, 'inner', { mode: 'of the instance', outer: '{{config}}' });
    await outer.publish();
    const id = await runtime.workspace({});
    await outer.install(id, 'outer', { tenant: 'acme' });

    await eventually(async () =>
      expect(await body(runtime.webhook(id, 'outer.inner.it'))).toEqual({ mode: 'of the instance', size: 1, outer: { tenant: 'acme' } }),
    );
  });

  it('#23 what a workspace says wins over the environment', async () => {
    const id = await runtime.workspace(
      { it: { when: { endpoint: true }, output: '{{config}}' } },
      { slug: 'rows', config: { mode: 'its own' } },
    );

    expect(await body(runtime.webhook(id, 'it'))).toEqual({ mode: 'its own', more: 'from outside' });
  });

  it('#24 a published app reaches its instances, nested ones too', async () => {
    const version = (output: number) => ({ when: { endpoint: true }, output });
    const inner = await published({ v: version(1) });
    await inner.publish();
    const outer = await published({});
    await inner.install(outer.source, 'inner');
    await outer.publish();
    const id = await runtime.workspace({});
    await inner.install(id, 'direct');
    await outer.install(id, 'outer');
    const versions = () => Promise.all(['direct.v', 'outer.inner.v'].map((endpoint) => body(runtime.webhook(id, endpoint))));
    await eventually(async () => expect(await versions()).toEqual([1, 1]));

    await runtime.call('automations.update', { workspaceId: inner.source, slug: 'v', body: { name: 'v', do: [], ...version(2) } });
    await inner.publish();

    await eventually(async () => expect(await versions()).toEqual([2, 2]));
  });

  it('#25 the end of a workspace is the end of its instances, and they hear of it', async () => {
    const app = await published({ end: { when: { events: ['workspaces.apps.uninstalled'] }, do: [{ emit: { event: 'ended' } }] } });
    await app.publish();
    const id = await runtime.workspace({});
    await app.install(id, 'inst');

    await runtime.call('workspaces.remove', { workspaceId: id });

    await eventually(() => expect(runtime.of(id, 'inst.ended')).toHaveLength(1));
  });
});

describe('what the reference did wrong', () => {
  it('#26 two hundred terms are read as quickly as two', async () => {
    const terms = Array.from({ length: 200 }, (_, n) => `{{body.n}} >= ${n}`).join(' and ');

    expect(await outputOf({ all: `{% ${terms} %}` }, [], { n: 300 })).toEqual({ all: true });
  });

  it('#27 what a value holds is never read as a template', async () => {
    const id = await runtime.workspace(
      {
        it: {
          when: { endpoint: true },
          do: [{ set: { name: 'own', value: '{{body.own}}' } }],
          output: { money: 'for {{body.money}}!', key: '{{body.key}}', inside: 'say {{body.key}}', own: 'again {{own}}' },
        },
      },
      { config: { key: 'hidden' } },
    );

    expect(await body(runtime.webhook(id, 'it', { money: "$& and $'", key: '{{config.key}}', own: '{{own}}' }))).toEqual({
      money: "for $& and $'!",
      key: '{{config.key}}',
      inside: 'say {{config.key}}',
      own: 'again {{own}}',
    });
  });

  it('#28 a prototype cannot be set', async () => {
    await expect(outputOf({}, [{ set: { name: '{{body.name}}', value: 1 } }], { name: '__proto__.x' })).rejects.toMatchObject({
      type: 'InvalidInstructionError',
      code: 400,
    });
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('#29 runs that write different keys of one context at the same time all keep theirs', async () => {
    const id = await runtime.workspace({
      it: { when: { endpoint: true }, do: [{ set: { name: 'global.by.{{body.n}}', value: true } }] },
      all: { when: { endpoint: true }, output: '{{global.by}}' },
    });
    const names = Array.from({ length: 30 }, (_, n) => `n${n}`);

    await Promise.all(names.map((n) => runtime.webhook(id, 'it', { n })));

    expect(Object.keys(await body(runtime.webhook(id, 'all'))).sort()).toEqual(names.sort());
  });

  it('#30 an inner loop gives the item back to the outer one', async () => {
    const inner = { repeat: { on: [1, 2], do: [{ set: { name: 'seen[]', value: '{{item}}' } }] } };
    const steps = [{ repeat: { on: ['a', 'b'], do: [inner, { set: { name: 'seen[]', value: '{{item}}' } }] } }];

    expect(await outputOf({ seen: '{{seen}}' }, steps)).toEqual({ seen: [1, 2, 'a', 1, 2, 'b'] });
  });

  it('#31 automations with the same cron run once each per slot', async () => {
    const tick = (name: string) => ({
      when: { schedules: ['* * * * * *'] },
      do: [{ emit: { event: 'tick', payload: { name, slot: '{{payload.startedAt}}', trigger: '{{run.trigger}}' } } }],
    });
    const id = await runtime.workspace({ one: tick('one'), two: tick('two') });

    type Tick = { name: string; slot: string; trigger: { type: string } };
    const ticksNow = () => runtime.of(id, 'tick').map(({ payload }) => payload as Tick);
    await eventually(
      () => {
        expect(ticksNow().length).toBeGreaterThanOrEqual(4);
        expect(new Set(ticksNow().map(({ name }) => name)).size).toBe(2);
      },
      { timeoutMs: 20_000 },
    );

    const ticks = ticksNow();
    const seen = ticks.map(({ name, slot }) => `${name} at ${slot}`);
    expect(new Set(seen).size).toBe(seen.length);
    expect(ticks[0]?.trigger).toMatchObject({ type: 'schedule', value: '* * * * * *' });
    await runtime.call('workspaces.remove', { workspaceId: id });
  });

  it('#35 a failing automation does not disturb one that waits for the same event', async () => {
    const id = await runtime.workspace({
      fails: { when: { events: ['go'] }, do: [{ 'not there': {} }] },
      waits: {
        when: { events: ['go'] },
        do: [
          { wait: { oneOf: [{ event: 'answer' }], timeout: 60, output: 'r' } },
          { emit: { event: 'done', payload: { n: '{{r.payload.n}}' } } },
        ],
      },
    });

    await runtime.emit(id, 'go');
    await eventually(() => expect(runtime.of(id, 'error')).toHaveLength(1));
    await eventually(async () =>
      expect((await runtime.call('runtime.runs.list', { workspaceId: id })).runs.map((run: JsonObject) => run.automation)).toContain(
        'waits',
      ),
    );
    await eventually(async () => {
      // The wait may not be registered yet when the first answer passes.
      if (runtime.of(id, 'done').length === 0) await runtime.emit(id, 'answer', { n: 35 });
      expect(runtime.of(id, 'done')).toHaveLength(1);
    });
    expect(runtime.of(id, 'done')[0]?.payload).toEqual({ n: 35 });
  });
});
