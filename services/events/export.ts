/** export — a search as a stream: JSON lines or CSV, a page at a time, so that its size does not matter. */
import { Readable } from 'node:stream';
import { valueAt } from '../../mixins/filters/condition.ts';
import type { PrismeEvent } from '../../mixins/shared/event.ts';
import type { DatalakeDriver, SearchRequest } from '../../mixins/storage/datalake/contract.ts';

export type ExportFormat = 'jsonl' | 'csv';
export const CONTENT_TYPES: Record<ExportFormat, string> = { jsonl: 'application/x-ndjson; charset=utf-8', csv: 'text/csv; charset=utf-8' };

const PAGE = 1000;
export const CSV_COLUMNS = [
  'id',
  'createdAt',
  'type',
  'source.correlationId',
  'source.userId',
  'source.sessionId',
  'source.automationSlug',
  'source.appInstanceFullSlug',
  'source.serviceTopic',
  'size',
  'payload',
];

/** One cell: quoted where needed (RFC 4180); text that a spreadsheet would run as a formula is made harmless. */
export function csvCell(value: unknown): string {
  if (value === undefined || value === null) return '';
  let text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const csvLine = (event: PrismeEvent, columns: string[]) =>
  `${columns.map((column) => csvCell(valueAt(event, column.split('.')))).join(',')}\r\n`;

export interface ExportOptions {
  format: ExportFormat;
  columns?: string[];
  maxEvents?: number;
}

/** Events of a search, oldest first. */
export function exportStream(
  datalake: DatalakeDriver,
  request: SearchRequest,
  { format, columns = CSV_COLUMNS, maxEvents = Number.POSITIVE_INFINITY }: ExportOptions,
): Readable {
  async function* lines() {
    if (format === 'csv') yield `${columns.join(',')}\r\n`;
    let left = maxEvents;
    for (let afterId = request.afterId; left > 0; ) {
      const page: SearchRequest = {
        ...request,
        afterId,
        page: 0,
        limit: Math.min(PAGE, left),
        sort: [{ field: 'createdAt', order: 'asc' }],
        trackTotal: false,
        aggs: undefined,
      };
      const { events, nextCursor } = await datalake.search(page);
      left -= events.length;
      yield events.map((event) => (format === 'csv' ? csvLine(event, columns) : `${JSON.stringify(event)}\n`)).join('');
      if (!nextCursor) return;
      afterId = nextCursor;
    }
  }
  // Pages are the chunks: not an object per event, and the reader's pace is the pace of the search.
  return Readable.from(lines(), { objectMode: false, highWaterMark: 256 * 1024 });
}
