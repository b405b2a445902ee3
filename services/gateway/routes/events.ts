/** events — emitting, reading, searching and streaming events. */
import type { RateLimit, Route } from './route.ts';

/** One budget for everything that reads the history. */
const searches: RateLimit[] = [{ name: 'searchEvents', key: 'userId', windowS: 60, limit: 40 }];
const path = '/workspaces/:workspaceId';

export const routes: Route[] = [
  {
    method: 'POST',
    path: `${path}/events`,
    action: 'events.emit',
    auth: 'optional',
    limits: searches,
    isRepeatable: true,
    summary: 'Emits events; answers once they are durable. With an Idempotency-Key, a repetition within a day gets the first answer.',
  },
  {
    method: 'GET',
    path: `${path}/events`,
    action: 'events.find',
    auth: 'optional',
    limits: searches,
    summary: 'Stored events by field, text and time; long polling for the next ones.',
  },
  { method: 'DELETE', path: `${path}/events`, action: 'events.erase', auth: 'required', summary: 'Erases the events of a user.' },
  {
    method: 'GET',
    path: `${path}/events/stream`,
    action: 'events.stream',
    auth: 'optional',
    raw: true,
    isEndless: true,
    limits: searches,
    summary: 'Live events as server-sent events.',
  },
  {
    method: 'GET',
    path: `${path}/events/export`,
    action: 'events.export',
    auth: 'optional',
    limits: searches,
    summary: 'Every matching event as JSON lines or CSV.',
  },
  { method: 'GET', path: `${path}/events/:eventId`, action: 'events.get', auth: 'optional', limits: searches, summary: 'One event.' },
  {
    method: 'POST',
    path: `${path}/search`,
    action: 'events.search',
    auth: 'optional',
    limits: searches,
    summary: 'Searches and aggregates the events of a workspace.',
  },
  {
    method: 'GET',
    path: '/events/status',
    action: 'history.overview',
    auth: 'required',
    summary: 'How far the event history is behind, and what it refused (super admins).',
  },
  {
    method: 'POST',
    path: '/search',
    action: 'events.searchAll',
    auth: 'required',
    summary: 'Searches the events of every workspace (super admins).',
  },
  {
    method: 'GET',
    path: `${path}/activity`,
    action: 'events.aggregate',
    auth: 'required',
    limits: searches,
    summary: 'Measures of activity, latency and errors over a period.',
  },
  {
    method: 'GET',
    path: `${path}/usage`,
    action: 'events.usage',
    auth: 'required',
    limits: searches,
    summary: 'Usage figures of a workspace.',
  },
  {
    method: 'GET',
    path: `${path}/topics/:topic`,
    action: 'events.topics.list',
    auth: 'required',
    summary: 'Who has joined a user topic.',
  },
  {
    method: 'POST',
    path: `${path}/topics/:topic/members`,
    action: 'events.topics.add',
    auth: 'required',
    summary: 'Adds users to a topic; they read its events from the answer on.',
  },
  {
    method: 'DELETE',
    path: `${path}/topics/:topic/members`,
    action: 'events.topics.remove',
    auth: 'required',
    summary: 'Takes users out of a topic; anybody may leave himself.',
  },
  {
    method: 'GET',
    path: `${path}/traces/:correlationId`,
    action: 'events.trace',
    auth: 'optional',
    limits: searches,
    summary: 'Everything of one correlation id as a tree.',
  },
];
