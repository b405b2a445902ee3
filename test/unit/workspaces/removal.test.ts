import { expect, it } from '@jest/globals';
import { HOUR } from '../../../mixins/shared/clock.ts';
import type { FilesDriver } from '../../../mixins/storage/files/contract.ts';
import { removedModel, sweepRemoved } from '../../../services/workspaces/removal.ts';

it('the last model of a removed workspace stays for an hour', async () => {
  const stored = new Map([
    ['removed/old.json', 1],
    ['removed/new.json', HOUR],
  ]);
  const files = {
    async *list() {
      for (const [key, modifiedAt] of [...stored]) yield { key, modifiedAt };
    },
    read: async (key: string) => (stored.has(key) ? { body: Buffer.from(JSON.stringify({ id: key })) } : null),
    remove: async (key: string) => stored.delete(key),
  } as never as FilesDriver;

  await sweepRemoved(files, HOUR + 2);

  expect(await removedModel(files, 'old')).toBeNull();
  expect(await removedModel(files, 'new')).toMatchObject({ id: 'removed/new.json' });
});
