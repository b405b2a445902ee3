/** auth — a token that proves this workspace to another one. */
import { object } from '../instruction.ts';
import { defineSimple, withOutput } from './simple.ts';

export const auth = defineSimple({
  name: 'auth',
  summary:
    'Gives `{ jwt }`, usable in fetch to this platform only and for a short time. With `workspace: true` the called automation learns the calling workspace as run.authenticatedWorkspaceId.',
  schema: object({ workspace: { type: 'boolean', default: false }, output: withOutput }),
  examples: [{ title: 'proves the workspace', source: '- auth: { workspace: true, output: pass }' }],
  perform: async ({ workspace }, frame) => frame.perform({ type: 'auth', workspace: workspace === true }),
});
