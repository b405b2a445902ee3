/** automation — what a stored automation may look like. Only structural faults refuse (docs/language.md); the compiler's other findings are warnings. */
import { Cron } from 'croner';
import { fault } from '../../../mixins/shared/errors.ts';
import { isPlainObject, type JsonObject } from '../../../mixins/shared/json.ts';
import { assertPlain } from './yaml.ts';

/** Bytes of one automation as JSON. */
export const MAX_AUTOMATION_BYTES = 2_000_000;

/** Fields the server fills in answers: what a client sends back of them is not stored. */
const COMPUTED = new Set(['events', 'createdAt', 'createdBy', 'updatedAt', 'updatedBy', 'checksum', 'revision', 'warnings']);

export interface Finding {
  severity: 'error' | 'warning';
  code: string;
  message: string;
  place: { file?: string; path: string; line?: number; column?: number };
  [other: string]: unknown;
}

/**
 * The automation as it is stored: server fields dropped, empty `arguments` made `{}`.
 * @throws RequestValidationError (`details.problems`) · InvalidScheduleError · PayloadTooLarge
 */
export function checkedAutomation(body: unknown, where = 'automation'): JsonObject {
  if (!isPlainObject(body)) throw invalid(where, [{ path: where, message: 'must be an object' }]);
  assertPlain(body, where);
  const automation = Object.fromEntries(Object.entries(body).filter(([key, value]) => !COMPUTED.has(key) && value !== undefined));
  if (automation.arguments === null) automation.arguments = {};
  const problems: { path: string; message: string }[] = [];
  const { name, when } = automation;
  const expect = (isOk: boolean, path: string, message: string) => void (isOk || problems.push({ path, message }));

  expect((typeof name === 'string' && name !== '') || isPlainObject(name), 'name', 'is required: a text, or texts by language');
  if (automation.do === undefined) problems.push({ path: 'do', message: 'is required: a list of instructions' });
  else if (!Array.isArray(automation.do)) problems.push({ path: 'do', message: 'must be a list of instructions' });
  else
    for (const [index, step] of automation.do.entries()) expect(isPlainObject(step), `do[${index}]`, 'must be an instruction (an object)');
  expect(automation.arguments === undefined || isPlainObject(automation.arguments), 'arguments', 'must be a map of names');
  expect(when === undefined || when === null || isPlainObject(when), 'when', 'must be an object');
  for (const flag of ['private', 'disabled'])
    expect(automation[flag] === undefined || typeof automation[flag] === 'boolean', flag, 'must be true or false');
  expect(automation.labels === undefined || isTextList(automation.labels), 'labels', 'must be a list of texts');
  if (isPlainObject(when)) {
    expect(when.events === undefined || when.events === null || isTextList(when.events), 'when.events', 'must be a list of event names');
    expect(when.schedules === undefined || when.schedules === null || Array.isArray(when.schedules), 'when.schedules', 'must be a list');
    expect(
      when.endpoint === undefined || when.endpoint === null || ['boolean', 'string'].includes(typeof when.endpoint),
      'when.endpoint',
      'must be true, false or a path',
    );
  }
  if (problems.length > 0) throw invalid(where, problems);
  assertSchedules(isPlainObject(when) && Array.isArray(when.schedules) ? when.schedules : []);

  const bytes = Buffer.byteLength(JSON.stringify(automation));
  if (bytes > MAX_AUTOMATION_BYTES)
    throw fault('PayloadTooLarge', {
      message: `An automation may not be larger than ${MAX_AUTOMATION_BYTES} bytes.`,
      data: { bytes, maxBytes: MAX_AUTOMATION_BYTES },
    });
  return automation;
}

const isTextList = (value: unknown): boolean => Array.isArray(value) && value.every((item) => typeof item === 'string');

const invalid = (where: string, problems: { path: string; message: string }[]) =>
  fault('RequestValidationError', {
    message: `${where}: ${problems.map(({ path, message }) => `${path} ${message}`).join('; ')}.`,
    data: { problems },
  });

/** Five or six cron fields, as text or `{cron, timezone}`. @throws InvalidScheduleError naming it */
function assertSchedules(schedules: unknown[]): void {
  for (const [index, entry] of schedules.entries()) {
    const cron = isPlainObject(entry) ? (entry.cron ?? entry.value) : entry;
    const timezone = isPlainObject(entry) && typeof entry.timezone === 'string' ? entry.timezone : undefined;
    try {
      if (typeof cron !== 'string') throw new Error('must be a cron text');
      new Cron(cron, { paused: true, ...(timezone ? { timezone } : {}) }).nextRun();
    } catch (error) {
      throw fault('InvalidScheduleError', {
        message: `The schedule '${String(cron).slice(0, 80)}' is not valid: ${(error as Error).message}`,
        data: { path: `when.schedules[${index}]`, schedule: String(cron).slice(0, 80) },
      });
    }
  }
}

/** What lists and the read of a workspace show of an automation. */
export function automationMeta(automation: JsonObject): JsonObject {
  const shown = ['name', 'description', 'arguments', 'private', 'disabled', 'when', 'labels', 'validateArguments'] as const;
  return Object.fromEntries(shown.flatMap((key) => (automation[key] === undefined ? [] : [[key, automation[key]]])));
}
