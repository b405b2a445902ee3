import { describe, expect, it } from '@jest/globals';
import { hexId } from '../../mixins/shared/ids.ts';
import { mongoDocuments } from '../../mixins/storage/documents/drivers/mongo.ts';
import { startMongo, type TestMongo } from '../support/mongo.ts';
import { documentsContract } from './documents.suite.ts';

let server: Promise<TestMongo> | undefined;
const standIn = async (): Promise<string> => {
  server ??= startMongo();
  return (await server).url;
};

describe('documents on a MongoDB that is not there', () => {
  it('names DOCUMENTS_URL in one line', async () => {
    const opening = mongoDocuments('mongodb://user:secret@127.0.0.1:1/test?serverSelectionTimeoutMS=200', { startWithinMs: 100 });

    await expect(opening).rejects.toMatchObject({ type: 'ConfigurationError', data: { variable: 'DOCUMENTS_URL' } });
    await expect(opening).rejects.not.toThrow(/secret/);
  });
});

documentsContract(
  "a stand-in for MongoDB's wire protocol",
  async () => mongoDocuments(await standIn()),
  async () => (await server)?.stop(),
);

const real = process.env.TEST_MONGODB_URL;
if (real) {
  // A database of its own per run, so that nothing of another is touched.
  const url = new URL(real);
  url.pathname = `/prisme-test-${hexId().slice(0, 8)}`;
  documentsContract('MongoDB', () => mongoDocuments(url.href));
} else console.warn('SKIPPED: documents on a real MongoDB (no TEST_MONGODB_URL); the stand-in shows the protocol only');
