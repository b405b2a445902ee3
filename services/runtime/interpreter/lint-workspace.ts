/**
 * lint-workspace — `npm run lint:workspace <folder> [-- --json] [-- --strict]`: checks the files of a workspace and prints all problems at once.
 * Ends with 1 when there is an error (with --strict: any finding), with 2 when the folder cannot be read.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { lint, shownProblem } from './lint.ts';

const MAX_FILE_BYTES = 2_000_000;
const USAGE = 'Usage: npm run lint:workspace <folder> [-- --json] [-- --strict]';

function filesOf(folder: string): Record<string, string> {
  const files: Record<string, string> = {};
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).filter((path) => /\.ya?ml$/.test(path));
  for (const path of paths.sort()) {
    const name = relative(folder, path).split(sep).join('/');
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error(`${name} is larger than ${MAX_FILE_BYTES} bytes.`);
    files[name] = readFileSync(path, 'utf8');
  }
  return files;
}

/** The folder itself, or `current/` inside it, as archives have it. */
function rootOf(folder: string): string {
  const isThere = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;
  const inner = join(folder, 'current');
  return !isThere(join(folder, 'automations')) && !isThere(join(folder, 'index.yml')) && isThere(inner) ? inner : folder;
}

const args = process.argv.slice(2);
const folder = args.find((argument) => !argument.startsWith('--'));
const unknown = args.find((argument) => argument.startsWith('--') && !['--json', '--strict'].includes(argument));
if (folder === undefined || unknown) {
  console.error(unknown ? `Unknown option ${unknown}. ${USAGE}` : USAGE);
  process.exit(2);
}

try {
  const files = filesOf(rootOf(folder));
  if (!Object.keys(files).some((file) => file.startsWith('automations/') || /^index\.ya?ml$/.test(file)))
    throw new Error('There is neither index.yml nor a folder automations in it.');
  const report = lint(files);
  if (args.includes('--json')) console.log(JSON.stringify(report, null, 2));
  else {
    for (const problem of report.problems) console.log(`${shownProblem(problem)}\n`);
    const counted = (count: number, name: string) => `${count} ${name}${count === 1 ? '' : 's'}`;
    console.log(
      [counted(report.automations, 'automation'), counted(report.errors, 'error'), counted(report.warnings, 'warning')].join(', '),
    );
  }
  process.exitCode = report.errors > 0 || (args.includes('--strict') && report.warnings > 0) ? 1 : 0;
} catch (error) {
  console.error(`Cannot check '${folder}': ${(error as Error).message}`);
  process.exitCode = 2;
}
