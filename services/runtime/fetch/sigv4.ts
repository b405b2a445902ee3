/** sigv4 — signs a request as AWS services expect it. @see https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html */
import { createHash, createHmac } from 'node:crypto';

export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  /** Guessed from the host when absent: `<service>.<region>.amazonaws.com`. */
  service?: string;
  region?: string;
}

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
const encode = (text: string) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Service and region named by an AWS host. */
export function placeOf(host: string): { service: string; region: string } {
  const parts = host.replace(/\.amazonaws\.com(\.cn)?$/, '').split('.');
  if (parts.length >= 2) {
    const region = parts.at(-1) as string;
    if (/^[a-z]{2}(-[a-z]+)+-\d$/.test(region)) return { service: parts.at(-2) as string, region };
  }
  return { service: parts.at(-1) || 's3', region: 'us-east-1' };
}

/** Headers to add to a request: `authorization`, `x-amz-date`, `x-amz-content-sha256`. `headers` are those already set, in lower case. */
export function signAws(
  request: { method: string; url: URL; headers: Record<string, string>; body: string | Uint8Array },
  credentials: AwsCredentials,
  now: Date,
): Record<string, string> {
  const guess = placeOf(request.url.hostname);
  const service = credentials.service || guess.service;
  const region = credentials.region || guess.region;
  const time = now.toISOString().replace(/[-:]|\.\d{3}/g, '');
  const day = time.slice(0, 8);
  const payloadHash = sha256(request.body);
  const signed: Record<string, string> = {
    ...Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => name === 'content-type' || name === 'range' || name.startsWith('x-amz-')),
    ),
    host: request.url.host,
    'x-amz-date': time,
    'x-amz-content-sha256': payloadHash,
  };
  const names = Object.keys(signed).sort();
  const query = [...request.url.searchParams]
    .map(([key, value]) => [encode(key), encode(value)])
    .sort(([a, x], [b, y]) => ((a as string) < (b as string) ? -1 : a === b ? ((x as string) < (y as string) ? -1 : 1) : 1))
    .map((pair) => pair.join('='))
    .join('&');
  // S3 signs the path as it is sent; every other service encodes it once more.
  const path = request.url.pathname || '/';
  const canonicalPath = service === 's3' ? path : path.split('/').map(encode).join('/');
  const canonical = [
    request.method,
    canonicalPath,
    query,
    ...names.map((name) => `${name}:${(signed[name] as string).trim().replace(/\s+/g, ' ')}`),
    '',
    names.join(';'),
    payloadHash,
  ].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const key = hmac(hmac(hmac(hmac(`AWS4${credentials.secretAccessKey}`, day), region), service), 'aws4_request');
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex');
  return {
    'x-amz-date': time,
    'x-amz-content-sha256': payloadHash,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
}
