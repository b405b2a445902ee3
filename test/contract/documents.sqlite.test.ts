import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sqliteDocuments } from '../../mixins/storage/documents/drivers/sqlite.ts';
import { documentsContract } from './documents.suite.ts';

const folder = mkdtempSync(join(tmpdir(), 'prisme-documents-'));

documentsContract(
  'SQLite',
  async () => sqliteDocuments(join(folder, 'documents.db')),
  async () => rmSync(folder, { recursive: true, force: true }),
);
