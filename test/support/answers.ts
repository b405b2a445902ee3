/**
 * answers — every answer that a test gets from the public API is compared with the OpenAPI document of the platform that gave it. An answer of another
 * shape fails the test that asked, whatever it was about.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

type Json = Record<string, any>;
interface Operations {
  find(method: string, path: string): { id: string; responses: Json } | undefined;
  validatorOf(id: string, status: number, responses: Json): ValidateFunction | undefined;
}

const documents = new Map<string, Promise<Operations | undefined>>();
const ROOT = 'https://prisme.invalid/answers';

/** Letters that are fixed: the most exact template wins. */
const exactness = (template: string) => template.replace(/\{\w+\}/g, '').length;

function read(document: Json): Operations {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema({ $id: ROOT, components: document.components });
  const templates = Object.keys(document.paths)
    .sort((a, b) => exactness(b) - exactness(a))
    .flatMap((template) => {
      const literal = template.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
      // A parameter is a segment, or everything that follows (`*slug`).
      return ['[^/]+', '.+'].map((any) => ({ template, expression: new RegExp(`^${literal.replace(/\{\w+\}/g, any)}$`) }));
    });
  const compiled = new Map<string, ValidateFunction | undefined>();
  return {
    find(method, path) {
      for (const { template, expression } of templates) {
        const operation = expression.test(path) ? document.paths[template][method.toLowerCase()] : undefined;
        if (operation) return { id: operation.operationId, responses: operation.responses };
      }
      return undefined;
    },
    validatorOf(id, status, responses) {
      const described = responses[status] ? status : status >= 400 ? 'default' : 200;
      const key = `${id} ${described}`;
      if (!compiled.has(key)) {
        const schema = responses[described]?.content?.['application/json']?.schema;
        const text = schema && JSON.stringify(schema).replaceAll('"#/components', `"${ROOT}#/components`);
        compiled.set(key, text ? ajv.compile(JSON.parse(text)) : undefined);
      }
      return compiled.get(key);
    },
  };
}

const documentOf = (url: string): Promise<Operations | undefined> => {
  let found = documents.get(url);
  if (!found) {
    found = fetch(`${url}/openapi.json`)
      .then(async (answer) => (answer.ok ? read((await answer.json()) as Json) : undefined))
      .catch(() => undefined);
    documents.set(url, found);
    // A platform that was not up yet is asked again.
    void found.then((operations) => operations ?? documents.delete(url));
  }
  return found;
};

/** @throws Error naming what does not fit the document */
export async function assertAnswer(url: string, method: string, path: string, status: number, body: unknown): Promise<void> {
  if (!url.endsWith('/v2')) return;
  const operations = await documentOf(url);
  const operation = operations?.find(method, path.split('?')[0] as string);
  if (!operations || !operation) return;
  // What automations answer is theirs.
  if (operation.id.startsWith('runtime.webhook') || operation.id.startsWith('runtime.test')) return;
  const validate = operations.validatorOf(operation.id, status, operation.responses);
  if (!validate || validate(body)) return;
  const problems = (validate.errors ?? []).slice(0, 3).map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
  throw new Error(
    `${method} ${path} answered ${status} in another shape than documented: ${problems.join('; ')}\n${JSON.stringify(body).slice(0, 500)}`,
  );
}
