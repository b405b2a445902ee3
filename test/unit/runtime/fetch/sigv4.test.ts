import { expect, it } from '@jest/globals';
import { placeOf, signAws } from '../../../../services/runtime/fetch/sigv4.ts';

it('guesses service and region from the host', () => {
  expect(placeOf('bedrock-runtime.eu-west-3.amazonaws.com')).toEqual({ service: 'bedrock-runtime', region: 'eu-west-3' });
  expect(placeOf('iam.amazonaws.com')).toEqual({ service: 'iam', region: 'us-east-1' });
});

// The worked example of the AWS documentation ("GET object", Signature Version 4).
it('signs the example of the documentation', () => {
  const headers = signAws(
    { method: 'GET', url: new URL('https://examplebucket.s3.amazonaws.com/test.txt'), headers: { range: 'bytes=0-9' }, body: '' },
    {
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
      service: 's3',
      region: 'us-east-1',
    },
    new Date('2013-05-24T00:00:00Z'),
  );

  expect(headers['x-amz-date']).toBe('20130524T000000Z');
  expect(headers.authorization).toBe(
    'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, ' +
      'SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  );
});
