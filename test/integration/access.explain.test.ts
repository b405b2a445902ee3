/** Why may he, why may he not: the answer for owners. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Caller, faultOf, startWorkspaces, type WorkspaceServices } from '../support/workspace-services.ts';

describe('the explanation of a right', () => {
  let platform: WorkspaceServices;
  let ada: Caller;
  let workspaceId: string;
  let page: { id: string };
  let key: { id: string; apiKey: string };
  const explain = (body: object) => ada.call('security.explain', { workspaceId, body });

  beforeAll(async () => {
    platform = await startWorkspaces();
    ada = platform.as('ada');
    workspaceId = (await ada.call('workspaces.create', { body: { name: 'Why' } })).id;
    const security = await ada.call('security.get', { workspaceId });
    security.authorizations.roles.viewer = {};
    security.authorizations.rules.push(
      { role: 'viewer', action: 'read', subject: ['workspaces', 'pages'] },
      { role: 'viewer', action: 'read', subject: 'pages', conditions: { name: 'Secret' }, inverted: true, reason: 'Not this one.' },
    );
    await ada.call('security.update', { workspaceId, body: security });
    page = await ada.call('pages.create', { workspaceId, body: { name: 'Secret', slug: 'secret', blocks: [] } });
    await ada.call('automations.create', {
      workspaceId,
      body: { name: 'Audit', slug: 'audit', do: [], authorizations: { action: 'audit' } },
    });
    key = await ada.call('security.createApiKey', { workspaceId, body: { name: 'reader', rules: [{ action: 'read', subject: 'files' }] } });
  });
  afterAll(() => platform?.stop());

  it('names the role, the rule that decides, where it is written, and those it was stronger than', async () => {
    await platform.as('ada').call('permissions.workspacesShare', {
      subjectId: workspaceId,
      body: { target: { id: 'ben' }, permissions: { role: 'viewer' } },
    });
    const answer = await explain({ userId: 'ben', action: 'read', subject: 'pages', id: page.id });
    expect(answer).toMatchObject({
      allowed: false,
      reason: 'Not this one.',
      role: 'viewer',
      rule: { inverted: true, conditions: { workspaceId } },
    });
    expect(answer.considered.slice(0, 2)).toEqual([
      expect.objectContaining({
        effect: 'denies',
        matches: true,
        origin: expect.stringMatching(/^security\.yml: authorizations\.rules\[\d+\]$/),
      }),
      expect.objectContaining({ effect: 'allows', matches: true }),
    ]);
    expect(await explain({ userId: 'ben', action: 'read', subject: 'workspaces' })).toMatchObject({
      allowed: true,
      reason: expect.stringMatching(/^Allowed by security\.yml/),
    });
    expect(await explain({ userId: 'ada', action: 'delete', subject: 'workspaces' })).toMatchObject({
      allowed: true,
      role: 'owner',
      reason: expect.stringMatching(/the role owner/),
    });
  });

  it('speaks of visitors, keys, guarded automations and imagined objects', async () => {
    expect(await explain({ action: 'read', subject: 'files' })).toMatchObject({
      allowed: false,
      reason: "No rule allows 'read' on files.",
    });
    expect(await explain({ action: 'read', subject: 'files', apiKey: key.id })).toMatchObject({
      allowed: true,
      rule: { origin: "the API key 'reader'" },
    });
    expect(await explain({ action: 'execute', subject: 'automations', id: 'audit' })).toMatchObject({ allowed: false });
    expect(await explain({ action: 'execute', subject: 'automations', id: 'audit', userId: 'ada' })).toMatchObject({ allowed: true });
    expect(
      await explain({ action: 'read', subject: 'events', sessionId: 's', object: { type: 'a', source: { sessionId: 's' } } }),
    ).toMatchObject({ allowed: true });
    expect(
      await explain({ action: 'read', subject: 'events', sessionId: 's', object: { type: 'a', source: { sessionId: 't' } } }),
    ).toMatchObject({ allowed: false });
    // What he imagines does not leave his workspace.
    expect(await explain({ action: 'read', subject: 'pages', userId: 'ada', object: { workspaceId: 'other' } })).toMatchObject({
      allowed: true,
    });
  });

  it('agrees with what happens', async () => {
    const ben = platform.as('ben');
    for (const [action, params, question] of [
      ['workspaces.get', { workspaceId }, { action: 'read', subject: 'workspaces' }],
      ['workspaces.update', { workspaceId, body: { name: 'x' } }, { action: 'update', subject: 'workspaces' }],
      ['pages.get', { workspaceId, slug: 'secret' }, { action: 'read', subject: 'pages', id: page.id }],
    ] as [string, object, object][]) {
      const isDone = (await faultOf(ben.call(action, params))) === 'none';
      expect([action, (await explain({ ...question, userId: 'ben' })).allowed]).toEqual([action, isDone]);
    }
  });

  it('is for those who manage permissions, asks clearly, and shows no content', async () => {
    expect(await faultOf(platform.as('ben').call('security.explain', { workspaceId, body: { action: 'read', subject: 'pages' } }))).toBe(
      'ForbiddenError',
    );
    for (const body of [
      {},
      { action: 'read' },
      { action: 'read', subject: 'users' },
      { action: { $ne: 1 }, subject: 'pages' },
      { action: 'read', subject: '__proto__' },
      { action: 'read', subject: 'pages', object: [] },
    ])
      expect([body, await faultOf(explain(body))]).toEqual([body, 'RequestValidationError']);
    expect(await faultOf(explain({ action: 'read', subject: 'pages', id: 'unknown' }))).toBe('ObjectNotFoundError');
    expect(await faultOf(explain({ action: 'read', subject: 'automations', id: 'constructor' }))).toBe('ObjectNotFoundError');
    const other = (await ada.call('workspaces.create', { body: { name: 'Other' } })).id;
    expect(
      await faultOf(ada.call('security.explain', { workspaceId: other, body: { action: 'read', subject: 'pages', id: page.id } })),
    ).toBe('ObjectNotFoundError');
    expect(
      await faultOf(ada.call('security.explain', { workspaceId: other, body: { action: 'read', subject: 'files', apiKey: key.id } })),
    ).toBe('ObjectNotFoundError');
    expect(Object.keys(await explain({ action: 'read', subject: 'pages', id: page.id })).sort()).toEqual([
      'action',
      'allowed',
      'considered',
      'id',
      'reason',
      'subject',
    ]);
  });
});
