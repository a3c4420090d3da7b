import { mkdirSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import S3rver from '@20minutes/s3rver';
import account from '@20minutes/s3rver/lib/models/account.js';

// A program: S3 on the loopback, with one bucket, `bucket`, kept in a directory. It checks signatures.
// `node --import tsx test/support/s3-server-program.ts DIRECTORY PORT`, the keys in S3_KEY_ID and S3_SECRET_KEY.

const [directory = '', port = ''] = process.argv.slice(2);
const { S3_KEY_ID: id = '', S3_SECRET_KEY: secret = '' } = process.env;
mkdirSync(directory, { recursive: true });
account.DUMMY_ACCOUNT.createKeyPair(id, secret);
const server = new S3rver({
  address: '127.0.0.1',
  port: Number(port),
  directory,
  silent: true,
  vhostBuckets: false,
  configureBuckets: [{ name: 'bucket' }],
});

// It computes the signature of `/bucket/` as if `/bucket` had been asked for. So the slash is made part of the name, and
// taken away again where the bucket is looked for.
server.middleware.unshift(async (context, next) => {
  context.path = context.path.replace(/^\/([^/]+)\/$/, '/$1%2F');
  return await next();
});
server.store.getBucketPath = (bucket) => path.join(directory, bucket.replace(/\/$/, ''));

// In S3 an object is there as a whole or not at all, also when the server is killed.
const put = server.store.putContent.bind(server.store);
server.store.putContent = async (file, content) => {
  const written = await put(`${file}.part`, content);
  await rename(`${file}.part`, file);
  return written;
};

await server.run();
