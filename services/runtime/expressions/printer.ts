/** printer — tree → text that parses to the same tree. Used by tests of the grammar and by tools. */
import type { Node, Segment } from './ast.ts';
import { LEVELS } from './operators.ts';

const LEVEL_OF: Record<string, number> = {
  '<': LEVELS.relational,
  '<=': LEVELS.relational,
  '>': LEVELS.relational,
  '>=': LEVELS.relational,
  '+': LEVELS.additive,
  '-': LEVELS.additive,
  '*': LEVELS.multiplicative,
  '/': LEVELS.multiplicative,
  '%': LEVELS.multiplicative,
};

function levelOf(node: Node): number {
  if (node.type === 'logical') return LEVELS[node.operator];
  if (node.type === 'binary') return LEVEL_OF[node.operator] ?? LEVELS.equality;
  if (node.type === 'exists') return LEVELS.equality;
  if (node.type === 'not' || node.type === 'negate') return 7;
  if (node.type === 'literal' && typeof node.value === 'number' && node.value < 0) return 7;
  return 8;
}

const quote = (text: string): string => (text.includes('"') ? `'${text}'` : `"${text}"`);

function segment(part: Segment, isFirst: boolean): string {
  if (part.kind === 'fixed') {
    if (/^[A-Za-z0-9_$-]+$/.test(part.key)) return isFirst ? part.key : `.${part.key}`;
    return isFirst ? part.key : `[${quote(part.key)}]`;
  }
  const inner = part.parts.map((piece) => (typeof piece === 'string' ? piece : printExpression(piece))).join('');
  return isFirst ? inner : `[${inner}]`;
}

function operand(node: Node, minimum: number): string {
  const text = printExpression(node);
  return levelOf(node) < minimum ? `(${text})` : text;
}

export function printExpression(node: Node): string {
  switch (node.type) {
    case 'literal':
      return typeof node.value === 'string' ? quote(node.value) : String(node.value);
    case 'variable':
      return `{{${node.path.map((part, index) => segment(part, index === 0)).join('')}}}`;
    case 'logical':
      return node.items.map((item) => operand(item, LEVELS[node.operator] + 1)).join(` ${node.operator} `);
    case 'binary':
      return `${operand(node.left, levelOf(node))} ${node.operator} ${operand(node.right, levelOf(node) + 1)}`;
    case 'not':
      return `!${operand(node.operand, 7)}`;
    case 'negate':
      return `-${operand(node.operand, 8)}`;
    case 'exists':
      return `${operand(node.operand, LEVELS.equality)} ${node.isNegated ? 'not exists' : 'exists'}`;
    case 'regex': {
      const source = node.parts.map((piece) => (typeof piece === 'string' ? piece : printExpression(piece))).join('');
      return `regex(/${source}/${node.flags})`;
    }
    case 'call':
      return `${node.name}(${node.args.map(printExpression).join(', ')})`;
    case 'member':
      return node.key.type === 'literal' && typeof node.key.value === 'string' && /^[A-Za-z_]\w*$/.test(node.key.value)
        ? `${operand(node.object, 8)}.${node.key.value}`
        : `${operand(node.object, 8)}[${printExpression(node.key)}]`;
    case 'array':
      return `[${node.items.map(printExpression).join(', ')}]`;
    case 'object':
      return `{${node.entries.map(({ key, value }) => `${quote(key)}: ${printExpression(value)}`).join(', ')}}`;
  }
}

/** A chain of `and` and `or` with all its parentheses: as it is read here, and from the right, as older runtimes did. */
export function readingsOf(node: Node): { here: string; before: string } {
  const terms: { text: string; operator: string }[] = [];
  const collect = (part: Node, next: string): void => {
    if (part.type !== 'logical' || (part.isGrouped && part !== node)) {
      terms.push({ text: operand(part, LEVELS.equality), operator: next });
      return;
    }
    for (const [index, item] of part.items.entries()) collect(item, index < part.items.length - 1 ? part.operator : next);
  };
  collect(node, '');
  const before = terms.reduceRight((rest, { text, operator }, index) => {
    if (index === terms.length - 1) return text;
    return `${text} ${operator} ${index === terms.length - 2 ? rest : `(${rest})`}`;
  }, '');
  const here =
    node.type !== 'logical'
      ? printExpression(node)
      : node.items
          .map((item) => (item.type === 'logical' ? `(${printExpression(item)})` : printExpression(item)))
          .join(` ${node.operator} `);
  return { here, before };
}
