import { embedded, runsSuite } from './runtime-runs.suite.ts';

runsSuite('runs on the embedded stores', embedded);
