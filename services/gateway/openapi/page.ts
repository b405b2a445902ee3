/** page — the document for people: one static page, no script, nothing loaded from elsewhere. */
import { createHash } from 'node:crypto';
import type { JsonObject } from '../../../mixins/shared/json.ts';

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escaped = (text: unknown) => String(text ?? '').replace(/[&<>"']/g, (sign) => ESCAPES[sign] as string);

const STYLE =
  'body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a2e}code,pre{font-family:ui-monospace,monospace;font-size:13px}pre{background:#f4f4f8;padding:.6rem;overflow:auto}details{border-top:1px solid #ddd;padding:.4rem 0}summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}.who{color:#667;float:right}nav a{margin-right:.8rem}';

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: JsonObject[];
  parameters?: { name: string; in: string; required?: boolean; schema?: JsonObject }[];
  requestBody?: { content: Record<string, { schema: JsonObject }> };
  responses: Record<string, { content?: Record<string, { schema: JsonObject }> }>;
}

const shown = (schema: JsonObject | undefined) =>
  schema && Object.keys(schema).length > 0
    ? `<pre>${escaped(JSON.stringify(schema, null, 1).replaceAll('#/components/schemas/', ''))}</pre>`
    : '';

const whoOf = (security: JsonObject[] = []) => {
  if (security.some((entry) => Object.keys(entry).length === 0)) return 'anybody';
  return security.some((entry) => 'apiKey' in entry) ? 'signed in, or an API key' : 'signed in';
};

function section(
  method: string,
  path: string,
  { summary, description, security, parameters = [], requestBody, responses }: Operation,
): string {
  const rows = parameters
    .map(({ name, in: place, required }) => `<li><code>${escaped(name)}</code> (${place}${required ? ', required' : ''})</li>`)
    .join('');
  const body = requestBody?.content['application/json']?.schema;
  const answer = Object.values(responses['200']?.content ?? {})[0]?.schema;
  return `<details><summary><b>${method.toUpperCase()}</b><code>${escaped(path)}</code> <span class="who">${whoOf(security)}</span><br>${escaped(summary)}</summary>
${description ? `<p>${escaped(description)}</p>` : ''}${rows ? `<ul>${rows}</ul>` : ''}${body && Object.keys(body).length ? `<p>Body</p>${shown(body)}` : ''}${answer && Object.keys(answer).length ? `<p>Answer</p>${shown(answer)}` : ''}</details>`;
}

export function documentPage(document: JsonObject): { html: string; policy: string } {
  const { info, paths, components } = document as {
    info: { title: string; description?: string };
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, JsonObject> };
  };
  const byTag = new Map<string, string[]>();
  for (const [path, operations] of Object.entries(paths))
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? 'other';
      byTag.set(tag, [...(byTag.get(tag) ?? []), section(method, path, operation)]);
    }
  const tags = [...byTag.keys()].sort();
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escaped(info.title)}</title><style>${STYLE}</style></head>
<body><h1>${escaped(info.title)}</h1><p>${escaped(info.description)} The same as data: <a href="openapi.json">openapi.json</a>.</p>
<nav>${[...tags, 'schemas'].map((tag) => `<a href="#${escaped(tag)}">${escaped(tag)}</a>`).join('')}</nav>
${tags.map((tag) => `<h2 id="${escaped(tag)}">${escaped(tag)}</h2>\n${byTag.get(tag)?.join('\n')}`).join('\n')}
<h2 id="schemas">schemas</h2>
${Object.entries(components.schemas)
  .map(([name, schema]) => `<details><summary><code>${escaped(name)}</code></summary>${shown(schema)}</details>`)
  .join('\n')}
</body></html>
`;
  return {
    html,
    policy: `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; frame-ancestors 'none'`,
  };
}
