import { walkSuite } from './walk.suite.ts';

walkSuite('one process, embedded stores', { mode: 'embedded' });
