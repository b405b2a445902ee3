/**
 * imports — keeps the import table of ARCHITECTURE.md true and finds circular imports. Prints one line per offence.
 * A type-only import is free to form a circle: it does not exist at run time.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const roots = ['services', 'mixins'];

interface Import {
  to: string;
  isTypeOnly: boolean;
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: Import[] = [];
  for (const match of text.matchAll(/^\s*(?:import|export)\s+(type\s)?([^'";]*?from\s*)?['"]([^'"]+)['"]/gm)) {
    const names = match[2] ?? '';
    const isTypeOnly =
      Boolean(match[1]) ||
      (/\{/.test(names) &&
        !/^[^{]*\w+\s*,/.test(names) &&
        names
          .replace(/.*\{|\}.*/gs, '')
          .split(',')
          .filter((name) => name.trim())
          .every((name) => /^\s*type\s/.test(name)));
    found.push({ to: match[3] as string, isTypeOnly });
  }
  for (const match of text.matchAll(/import\(\s*['"]([^'"]+)['"]\s*\)/g)) found.push({ to: match[1] as string, isTypeOnly: true });
  return found;
}

/** Rooms whose imports are limited: [file prefix, allowed prefixes, allowed packages or null for any]. First match wins. */
const TABLE: [string, string[], RegExp | null][] = [
  ['services/runtime/expressions/', ['services/runtime/expressions/'], /^(re2js|dayjs.*|node:module)$/],
  [
    'services/runtime/interpreter/',
    ['services/runtime/interpreter/', 'services/runtime/expressions/', 'mixins/shared/'],
    /^(ajv.*|yaml|node:.*)$/,
  ],
  ['services/gateway/', ['services/gateway/', 'mixins/'], null],
  ['services/events/', ['services/events/', 'mixins/'], null],
  ['services/runtime/', ['services/runtime/', 'mixins/'], null],
  ['services/workspaces/', ['services/workspaces/', 'mixins/'], null],
  ['mixins/shared/', ['mixins/shared/'], null],
  ['mixins/auth/', ['mixins/auth/', 'mixins/shared/', 'mixins/filters/'], null],
  ['mixins/readiness/', ['mixins/readiness/', 'mixins/shared/'], null],
  ['mixins/streams/', ['mixins/streams/', 'mixins/auth/', 'mixins/shared/'], null],
  ['mixins/bus/', ['mixins/bus/', 'mixins/shared/'], null],
  ['mixins/filters/', ['mixins/filters/', 'mixins/shared/'], null],
  ['mixins/storage/', ['mixins/storage/', 'mixins/shared/', 'mixins/filters/'], null],
];

/** Types of a seam or of another service may be imported from anywhere: they are what the rooms agree on. */
const isContract = (file: string) => /(^|\/)(contract|identity|route)\.ts$/.test(file);

const offences: string[] = [];
const graph = new Map<string, string[]>();
for (const file of roots.flatMap((folder) => files(join(root, folder)))) {
  const rule = TABLE.find(([prefix]) => file.startsWith(prefix));
  const edges: string[] = [];
  if (file !== 'mixins/shared/config.ts' && /\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8')))
    offences.push(`${file} reads process.env; only mixins/shared/config.ts does.`);
  for (const { to, isTypeOnly } of importsOf(file)) {
    if (!to.startsWith('.')) {
      const packages = rule?.[2];
      if (packages && !packages.test(to)) offences.push(`${file} imports the package '${to}', which its room may not.`);
      continue;
    }
    if (!to.endsWith('.ts') && !to.endsWith('.json')) offences.push(`${file} imports '${to}' without its ending.`);
    const target = relative(root, resolve(root, dirname(file), to));
    if (!isTypeOnly) edges.push(target);
    const allowed = rule?.[1].some((prefix) => target.startsWith(prefix)) ?? true;
    if (!allowed && !(isTypeOnly && isContract(target))) offences.push(`${file} imports ${target}, which its room may not.`);
  }
  graph.set(file, edges);
}

const state = new Map<string, 'open' | 'done'>();
function walk(file: string, trail: string[]): void {
  if (state.get(file) === 'done') return;
  if (state.get(file) === 'open') {
    offences.push(`Circular import: ${[...trail.slice(trail.indexOf(file)), file].join(' → ')}`);
    return;
  }
  state.set(file, 'open');
  for (const next of graph.get(file) ?? []) if (graph.has(next)) walk(next, [...trail, file]);
  state.set(file, 'done');
}
for (const file of graph.keys()) walk(file, []);

for (const offence of offences) console.error(offence);
console.log(offences.length ? `${offences.length} import offences` : `imports: ${graph.size} files follow the table`);
process.exit(offences.length ? 1 : 0);
