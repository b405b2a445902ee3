/**
 * response — an answer of the gateway: what every one of them says, whoever writes it, is added when its head is written.
 *
 * Setting headers one by one costs more than all the rest Node does for a short answer; a list given to `writeHead` hardly anything. So what stands
 * anyway is kept beside Node's own table, and only joins it when somebody else has put something there.
 */
import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { CORRELATION_HEADER } from './policies/correlation.ts';

const POLICY_HEADER = 'content-security-policy';

export class GatewayResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  /** Id of the request, told in the answer; a run that calls back has that of what started it. */
  correlationId = '';
  /** What is sent was written by an automation or another server: the content policy of the platform's JSON does not fit it. */
  isForeign = false;
  private standing: Record<string, string> | undefined;
  private told: Record<string, string> | undefined;

  /** From now on the answer carries these headers, unless it has others of the same names. */
  begin(correlationId: string, standing: Record<string, string>): void {
    this.correlationId = correlationId;
    this.standing = standing;
  }

  /** A header of this one answer, unless it has another of that name. */
  tell(name: string, value: string): void {
    this.told ??= {};
    this.told[name] = value;
  }

  /** What an automation answers, as a whole. @param headers names in lower case  @throws TypeError for a header that HTTP has no form for */
  send(status: number, headers: Record<string, string | string[]>, body: string | Buffer): void {
    // There is nothing after such a head, so there must be no word of it. @see https://www.rfc-editor.org/rfc/rfc9110#section-8.6
    const isBare = status === 204 || status === 304;
    if (this.getHeaderNames().length > 0) {
      for (const name in headers) this.setHeader(name, headers[name] as string | string[]);
      this.isForeign = true;
      this.writeHead(status, isBare ? {} : { 'content-length': Buffer.byteLength(body) });
    } else {
      const list: string[] = [];
      for (const name in headers) {
        const value = headers[name] as string | string[];
        if (typeof value === 'string') list.push(name, value);
        else for (const one of value) list.push(name, one);
      }
      this.eachStanding(true, (name, value) => {
        if (!Object.hasOwn(headers, name)) list.push(name, value);
      });
      if (!isBare) list.push('content-length', String(Buffer.byteLength(body)));
      super.writeHead(status, list);
    }
    this.end(isBare ? undefined : body);
  }

  override writeHead(status: number, reason?: string, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this;
  override writeHead(status: number, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this;
  override writeHead(status: number, ...more: any[]): this {
    if (!this.headersSent)
      this.eachStanding(this.isForeign, (name, value) => {
        if (!this.hasHeader(name)) this.setHeader(name, value);
      });
    return super.writeHead(status, ...more);
  }

  private eachStanding(isForeign: boolean, visit: (name: string, value: string) => void): void {
    const standing = this.standing;
    const told = this.told;
    if (!standing) return;
    visit(CORRELATION_HEADER, this.correlationId);
    for (const name in standing) if (!isForeign || name !== POLICY_HEADER) visit(name, standing[name] as string);
    if (told) for (const name in told) visit(name, told[name] as string);
  }
}
