import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { fsFiles } from '../../../mixins/storage/files/drivers/fs.ts';

describe('files in folders', () => {
  let folder: string;
  let files: FilesDriver;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'prisme-fs-'));
    files = fsFiles(join(folder, 'store'), 'models');
  });
  afterEach(async () => {
    await files.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of files.list('')) found.push(key);
    return found;
  };

  it('are readable with any tool, and those made with any tool are found', async () => {
    await files.write('w1/current/index.yml', 'name: one');
    mkdirSync(join(folder, 'store/models/w2'));
    writeFileSync(join(folder, 'store/models/w2/index.yml'), 'name: two');

    expect(readFileSync(join(folder, 'store/models/w1/current/index.yml'), 'utf8')).toBe('name: one');
    expect((await files.read('w2/index.yml'))?.body.toString()).toBe('name: two');
    expect(await keys()).toEqual(['w1/current/index.yml', 'w2/index.yml']);
  });

  it('change their etag when another tool changes them, also within one tick of the clock and at the same length', async () => {
    const path = join(folder, 'store/models/a');
    const etags = new Set<string>();
    for (const text of ['one', 'two', 'six']) {
      writeFileSync(path, text);
      etags.add((await files.info('a'))!.etag);
    }

    expect(etags.size).toBe(3);
  });

  it('never lead out of the store by a symbolic link', async () => {
    writeFileSync(join(folder, 'secret'), 'secret');
    mkdirSync(join(folder, 'outside'));
    writeFileSync(join(folder, 'outside/secret'), 'secret');
    symlinkSync(join(folder, 'secret'), join(folder, 'store/models/link'));
    symlinkSync(join(folder, 'outside'), join(folder, 'store/models/dir'));

    for (const key of ['link', 'dir/secret']) {
      expect(await files.read(key)).toBeNull();
      expect(await files.info(key)).toBeNull();
      expect(await files.stream(key)).toBeNull();
      expect(await files.remove(key)).toBe(false);
    }
    expect(await keys()).toEqual([]);
    await expect(files.write('dir/new', 'x')).rejects.toMatchObject({ type: 'BadParametersError' });
    expect(await files.copyAll('dir', 'copy')).toBe(0);
    expect(await files.removeAll('dir')).toBe(0);
    expect(readdirSync(join(folder, 'outside'))).toEqual(['secret']);
    // A link in the place of a file is replaced, what it led to stays.
    await files.write('link', 'mine');
    expect(readFileSync(join(folder, 'secret'), 'utf8')).toBe('secret');
  });

  it('cannot have one name for a file and a folder', async () => {
    await files.write('a', 'file');
    await files.write('b/c', 'file');

    await expect(files.write('a/b', 'x')).rejects.toMatchObject({ type: 'BadParametersError' });
    await expect(files.write('b', 'x')).rejects.toMatchObject({ type: 'BadParametersError' });
    expect(await keys()).toEqual(['a', 'b/c']);
  });

  it('leave nothing behind when a write fails', async () => {
    await expect(files.write('a', 'x', { ifMatch: 'other' })).rejects.toMatchObject({ type: 'VersionConflict' });

    expect(readdirSync(join(folder, 'store/.tmp'))).toEqual([]);
  });

  it('lose what a killed process left unfinished, an hour later', async () => {
    const left = join(folder, 'store/.tmp/left');
    const fresh = join(folder, 'store/.tmp/fresh');
    writeFileSync(left, 'x');
    writeFileSync(fresh, 'x');
    utimesSync(left, new Date(Date.now() - 2 * 3_600_000), new Date(Date.now() - 2 * 3_600_000));

    await fsFiles(join(folder, 'store'), 'uploads').close();

    expect(readdirSync(join(folder, 'store/.tmp'))).toEqual(['fresh']);
  });

  it('are listed by the thousand, with the same etags each time', async () => {
    for (let i = 0; i < 20; i++) {
      mkdirSync(join(folder, `store/models/d${i}`));
      for (let j = 0; j < 100; j++) writeFileSync(join(folder, `store/models/d${i}/f${j}`), `${i}.${j}`);
    }
    const etags = async () => {
      const found: string[] = [];
      for await (const { key, etag } of files.list('')) found.push(`${key} ${etag}`);
      return found;
    };

    const first = await etags();
    expect(new Set(first).size).toBe(2000);
    expect(await etags()).toEqual(first);
  });
});
