/** deadletters — events a consumer group gave up on, for those who manage the workspace, and for super admins over all; the state of the bus. */
import type { Route } from './route.ts';

export const routes: Route[] = [
  {
    method: 'GET',
    path: '/bus/status',
    action: 'bus.status',
    auth: 'required',
    summary: 'How far each consumer group is behind. For super admins.',
  },
  {
    method: 'DELETE',
    path: '/bus/groups/:group',
    action: 'bus.forgetGroup',
    auth: 'required',
    summary: 'Forgets a consumer group that is not used any more. For super admins.',
  },
  ...['/workspaces/:workspaceId/deadletters', '/bus/deadletters'].flatMap(deadLettersBelow),
];

function deadLettersBelow(path: string): Route[] {
  return [
    {
      method: 'GET',
      path,
      action: 'bus.deadLetters.list',
      auth: 'required',
      summary: 'Events that could not be handled, with the reason.',
    },
    {
      method: 'GET',
      path: `${path}/:id`,
      action: 'bus.deadLetters.get',
      auth: 'required',
      summary: 'One event that could not be handled.',
    },
    {
      method: 'POST',
      path: `${path}/redrive`,
      action: 'bus.deadLetters.redrive',
      auth: 'required',
      summary: 'Hands events that could not be handled over again: those of `ids`, or all.',
    },
    {
      method: 'POST',
      path: `${path}/drop`,
      action: 'bus.deadLetters.drop',
      auth: 'required',
      summary: 'Drops events that could not be handled: those of `ids`, or all.',
    },
  ];
}
