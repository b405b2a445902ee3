/** codes — what the compiler may find, by the code of the problem. A test holds the list to what is raised. */
import type { Problem } from './model.ts';

const error = (meaning: string) => ({ severity: 'error' as const, meaning });
const warning = (meaning: string) => ({ severity: 'warning' as const, meaning });

export const CODES: Record<string, { severity: Problem['severity']; meaning: string }> = {
  InvalidAutomation: error('An automation is an object.'),
  MissingName: error('`name` is required.'),
  MissingDo: error('`do` is required.'),
  InvalidDo: error('`do` must be a list.'),
  InvalidExpressionSyntax: warning('An expression, function call or pattern that cannot be understood; the error when it is reached.'),
  InvalidVariableNameError: warning('A path that is none, or a name that may not be used; the error when it is reached.'),
  InvalidInstructionError: warning('An instruction that cannot be executed; the error when it is reached.'),
  InvalidOutputError: warning('`output` must name a variable; told as an event when it is reached.'),
  LimitExceededError: warning('A text, expression or block beyond the limits; the error when it is reached.'),
  UnknownAutomation: warning('A call of nothing: misspelt, deleted, or of an app that is not installed.'),
  UnknownArgument: warning('An argument that the instruction does not have: it is ignored.'),
  UnknownValue: warning('A value that is none of those possible.'),
  UnknownField: warning('A field of an automation, or of `when`, that is probably misspelt.'),
  MissingArgument: warning('A required argument is missing.'),
  WrongType: warning('An argument of another type than expected.'),
  IgnoredKeys: warning('Keys beside the name of the instruction.'),
  InvalidBlock: warning('A block must be a list of instructions; anything else is an empty one.'),
  Unreachable: warning('What follows a break.'),
  ConstantCondition: warning('A condition that is always or never true: mostly a variable without its braces.'),
  BreakOutsideLoop: warning('`scope: repeat` without a loop around it ends the automation.'),
  MixedAndOr: warning('`and` and `or` without parentheses; both readings are shown.'),
  InvalidSchema: warning('`arguments` or `schemas` that cannot be compiled: every validated call fails.'),
  InvalidYaml: error('A file that is no YAML, or holds no object (`npm run lint:workspace` only).'),
  SharedEndpoint: warning('Two automations answer at the same path (`npm run lint:workspace` only).'),
};
