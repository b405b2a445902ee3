/**
 * compile-check — what the runtime's compiler says of automations about to be saved, so that a saved file is a runnable file.
 * Structural faults were refused before (dsul/automation.ts). When no runtime answers in time the save goes on, with a warning that says so.
 */
import { SECOND } from '../../mixins/shared/clock.ts';
import { fault, isFault } from '../../mixins/shared/errors.ts';
import type { JsonObject } from '../../mixins/shared/json.ts';
import type { Finding } from './dsul/automation.ts';
import type { Call, Self } from './editing.mixin.ts';

const PATIENCE_MS = 5 * SECOND;
const MAX_SHOWN = 200;
/** Characters of files that are sent along for the sake of line numbers. */
const MAX_TEXT_CHARS = 4_000_000;

const small = (texts: Record<string, string>): Record<string, string> =>
  Object.values(texts).reduce((sum, text) => sum + text.length, 0) > MAX_TEXT_CHARS ? {} : texts;

/**
 * Findings by automation slug.
 * @param imports app instances about to be saved together with the automations
 * @param texts YAML by file, when there is one: findings then carry line and column
 * @throws InvalidWorkspaceError when the compiler found errors (`details.problems`), unless `isLenient`
 */
export async function compileCheck(
  self: Self,
  ctx: Call<any>,
  workspaceId: string,
  automations: Record<string, JsonObject>,
  { isLenient = false, imports = [], texts = {} }: { isLenient?: boolean; imports?: string[]; texts?: Record<string, string> } = {},
): Promise<Finding[]> {
  if (Object.keys(automations).length === 0) return [];
  const findings = await ask(self, ctx, { workspaceId, automations, imports, texts: small(texts) });
  const errors = findings.filter((finding) => finding.severity === 'error');
  if (errors.length > 0 && !isLenient)
    throw fault('InvalidWorkspaceError', {
      message: errors
        .slice(0, 5)
        .map(({ message, place }) => `${place?.path ?? ''}: ${message}`)
        .join('\n'),
      data: { problems: errors.slice(0, MAX_SHOWN) },
    });
  return findings.slice(0, MAX_SHOWN);
}

async function ask(self: Self, ctx: Call<any>, asked: object): Promise<Finding[]> {
  try {
    const answer = await ctx.call<unknown, any>('runtime.check', asked, {
      meta: self.systemMeta(self.identityOf(ctx).correlationId),
      timeout: PATIENCE_MS,
      retries: 0,
    } as never);
    const problems = Array.isArray(answer) ? answer : (answer as { problems?: unknown } | null)?.problems;
    return Array.isArray(problems) ? (problems as Finding[]) : [];
  } catch (error) {
    if (isFault(error, 'InvalidWorkspaceError')) throw error;
    self.logger.debug(`runtime.check did not answer: ${(error as Error).message}`);
    return [
      {
        severity: 'warning',
        code: 'not-compiled',
        message: 'The runtime could not be asked whether this compiles; only its structure was checked.',
        place: { path: '' },
      },
    ];
  }
}
