import { clientCalls } from './client-calls.suite.ts';

clientCalls('the calls of the public client', async () => ({}));
