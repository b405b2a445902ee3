/** routes — every published route, from the file of its resource. */
import { routes as deadLetters } from './deadletters.ts';
import { routes as events } from './events.ts';
import { routes as identity } from './identity.ts';
import { routes as organisations } from './organisations.ts';
import type { Route } from './route.ts';
import { routes as runtime } from './runtime.ts';
import { routes as workspaces } from './workspaces.ts';

export const routes: Route[] = [...identity, ...organisations, ...workspaces, ...runtime, ...events, ...deadLetters];
