/** runtime — webhooks, tests, runs and schedules. */
import type { Route } from './route.ts';

const WEBHOOK_LIMITS: Route['limits'] = [
  { name: 'webhooks', key: 'userId', windowS: 60, limit: 30 },
  { name: 'webhooks', key: 'workspaceId', windowS: 3600, limit: 2000 },
];

export const routes: Route[] = [
  {
    method: 'ANY',
    path: '/workspaces/:workspaceId/webhooks/*endpoint',
    action: 'runtime.webhook',
    auth: 'optional',
    limits: WEBHOOK_LIMITS,
    multipart: true,
    raw: true,
    summary: 'Runs the automation that listens to this endpoint and answers with its output.',
  },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/test/*slug',
    action: 'runtime.test',
    auth: 'optional',
    limits: WEBHOOK_LIMITS,
    multipart: true,
    summary: 'Runs one automation with the given payload, for those who may test it.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/triggers',
    action: 'runtime.triggers',
    auth: 'required',
    summary: 'Lists what starts which automation.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/schedules',
    action: 'runtime.schedules',
    auth: 'required',
    summary: 'Lists scheduled automations with their next time.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/runs',
    action: 'runtime.runs.list',
    auth: 'required',
    summary: 'Lists runs at work, waiting, failed or interrupted, newest first.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/runs/:runId',
    action: 'runtime.runs.get',
    auth: 'required',
    summary: 'Shows one run.',
  },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/runs/:runId/cancel',
    action: 'runtime.runs.cancel',
    auth: 'required',
    summary: 'Ends a run and the runs it caused.',
  },
  {
    method: 'POST',
    path: '/workspaces/:workspaceId/runs/:runId/retry',
    action: 'runtime.runs.retry',
    auth: 'required',
    summary:
      'Begins a failed or cancelled run again without repeating what it had completed, unless an automation it executes was changed.',
  },
  {
    method: 'GET',
    path: '/workspaces/:workspaceId/events/:eventId/explain',
    action: 'runtime.explain',
    auth: 'required',
    summary: 'Tells why an event did or did not start automations.',
  },
];
