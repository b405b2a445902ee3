/** response — bytes of an answer → the value an automation sees. */
import type { FetchRequest } from '../interpreter/index.ts';

export type Headers = Record<string, string | string[]>;

/** Value by content type; invalid or empty JSON is text or nothing, never a failure. */
export function decodeBody(bytes: Buffer, contentType: string): unknown {
  const type = contentType.toLowerCase();
  if (bytes.length === 0) return undefined;
  if (/\bapplication\/([\w.-]+\+)?json\b/.test(type)) {
    try {
      return JSON.parse(bytes.toString('utf8'));
    } catch {
      return bytes.toString('utf8');
    }
  }
  if (type.startsWith('text/') || type.includes('xml') || type.includes('x-www-form-urlencoded') || type.includes('javascript'))
    return bytes.toString('utf8');
  if (type === '' && isText(bytes)) return bytes.toString('utf8');
  return bytes;
}

const isText = (bytes: Buffer): boolean =>
  !bytes.subarray(0, 1024).includes(0) && Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes);

/** What `output` receives. */
export function shapeAnswer(mode: FetchRequest['outputMode'], answer: { status: number; headers: Headers; bytes: Buffer }): unknown {
  const contentType = String(answer.headers['content-type'] ?? '');
  if (mode === 'base64') return answer.bytes.toString('base64');
  if (mode === 'data_url')
    return `data:${contentType.split(';')[0]?.trim() || 'application/octet-stream'};base64,${answer.bytes.toString('base64')}`;
  const body = decodeBody(answer.bytes, contentType);
  return mode === 'detailed_response' ? { status: answer.status, headers: answer.headers, body } : body;
}
