// Jest transformer: strips types exactly as Node does when it runs the same files, so positions need no source map.
import { stripTypeScriptTypes } from 'node:module';

export default { process: (source) => ({ code: stripTypeScriptTypes(source) }) };
