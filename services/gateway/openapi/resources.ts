/** resources — shapes of workspaces, automations, events and runs, as far as the gateway can judge them: kinds of values. Their meaning is judged by their owners. */
import {
  type ActionSchema,
  anything,
  flag,
  listOf,
  map,
  maybeMap,
  maybeText,
  object,
  paging,
  ref,
  text,
  texts,
  truth,
  wholeNumber,
} from './schema.ts';

const named = { name: maybeText, slug: maybeText, description: anything, photo: maybeText };
const workspace = object({
  ...named,
  labels: { type: ['array', 'null'], items: text },
  config: maybeMap,
  customDomains: { type: ['array', 'null'], items: text },
});
const automation = object({
  ...named,
  do: { type: ['array', 'null'] },
  when: maybeMap,
  arguments: maybeMap,
  disabled: { type: ['boolean', 'null'] },
});
const app = object({
  appSlug: maybeText,
  appVersion: maybeText,
  slug: maybeText,
  config: anything,
  disabled: { type: ['boolean', 'null'] },
});
const reading = { ...paging, afterDate: text, beforeDate: text, afterId: text, beforeId: text, text: text };
const ids = object({ ids: texts });

export const resources: Record<string, ActionSchema> = {
  'workspaces.list': { query: { ...paging, search: text, owned: truth, dirty: truth }, answer: listOf(ref('Workspace')) },
  'workspaces.labels': { query: paging },
  'workspaces.create': { body: workspace, answer: ref('Workspace') },
  'workspaces.get': { query: { version: text }, answer: ref('Workspace') },
  'workspaces.update': { body: workspace, answer: ref('Workspace') },
  'workspaces.remove': { answer: map },
  'workspaces.getConfig': { query: { version: text }, answer: map },
  'workspaces.patchConfig': { body: object({ schema: maybeMap, block: maybeText, value: anything }) },
  'archives.import': { query: { prune: truth } },
  'automations.list': { query: paging },
  'automations.create': { body: automation, answer: ref('Automation') },
  'automations.get': { query: { version: text }, answer: ref('Automation') },
  'automations.update': { body: automation, answer: ref('Automation') },
  'appInstances.install': { body: app },
  'appInstances.update': { body: app },
  'apps.list': { query: paging },
  'apps.publish': { body: object({ workspaceId: text, slug: maybeText, description: anything }) },
  'versions.publish': { body: object({ description: anything, name: maybeText }) },
  'files.list': { query: { page: wholeNumber, limit: wholeNumber } },
  'files.download': { answerType: 'application/octet-stream' },
  'archives.export': { answerType: 'application/zip' },
  'archives.exportMany': { answerType: 'application/zip' },
  'events.emit': { body: { type: ['object', 'array'], properties: { events: listOf(map) } }, answer: listOf(ref('Event')) },
  'events.find': { query: reading },
  'events.get': { answer: ref('Event') },
  'events.stream': { answerType: 'text/event-stream' },
  'events.export': { answerType: 'application/x-ndjson' },
  'events.search': { body: object({ query: maybeMap, aggs: maybeMap, limit: anything, page: anything, sort: anything, scope: anything }) },
  'events.trace': { answer: map },
  'runtime.webhook': { body: null },
  'runtime.test': { body: null },
  'runtime.runs.list': { query: { limit: wholeNumber } },
  'bus.deadLetters.redrive': { body: ids },
  'bus.deadLetters.drop': { body: ids },
  'workspaces.suspend': { body: object({ suspended: { type: 'boolean' }, reason: maybeText }), answer: map },
  'workspaces.lock': { body: object({ message: maybeText, isLocked: flag }) },
};
