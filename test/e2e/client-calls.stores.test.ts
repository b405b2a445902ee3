/** The same calls with files in a bucket of a real S3 server and rows behind MongoDB's protocol: what a cluster uses. */
import { describe, it } from '@jest/globals';
import { startMongo } from '../support/mongo.ts';
import { s3Available, startSwift } from '../support/swift.ts';
import { clientCalls } from './client-calls.suite.ts';

if (s3Available())
  clientCalls('the calls of the public client, on S3 and MongoDB', async () => {
    const [files, documents] = [await startSwift(), await startMongo()];
    return {
      env: { FILES_URL: files.url, DOCUMENTS_URL: documents.url },
      stop: async () => {
        await files.stop();
        await documents.stop();
      },
    };
  });
else
  describe('the calls of the public client, on S3 and MongoDB', () => {
    it.skip('needs an S3 server', () => {});
  });
