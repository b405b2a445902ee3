import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fsFiles } from '../../mixins/storage/files/drivers/fs.ts';
import { filesContract } from './files.suite.ts';

const folder = mkdtempSync(join(tmpdir(), 'prisme-files-'));

filesContract(
  'a folder',
  async (area) => fsFiles(folder, area),
  async () => rmSync(folder, { recursive: true, force: true }),
);
