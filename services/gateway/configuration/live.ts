/** live — the configuration in force. A new file takes effect between two requests; one with a mistake is reported and changes nothing. */
import { type Compiled, compileConfiguration } from './compile.ts';
import { readConfigurationFile } from './read.ts';

export interface LiveConfiguration {
  current(): Compiled;
  /** Reads the file again. @throws ConfigurationError; what was in force stays */
  reload(): { pipelines: string[]; limits: string[] };
}

/** @throws ConfigurationError at the first reading: a node does not start with policies other than those it was given */
export function openConfiguration(path: string | undefined): LiveConfiguration {
  const read = () => {
    const file = readConfigurationFile(path);
    return { file, compiled: compileConfiguration(file) };
  };
  let { compiled } = read();
  return {
    current: () => compiled,
    reload() {
      const next = read();
      compiled = next.compiled;
      return { pipelines: next.file.pipelines.map(({ name }) => name), limits: Object.keys(next.file.limits) };
    },
  };
}
