import { createHash } from 'node:crypto';
import path from 'node:path';
import type * as z from 'zod';
import { errnoOf, FsbackupError } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { isRealDirectory } from '../stored/real-directory.js';
import { readStored } from '../stored/stored-file.js';
import type { StoredFile } from './sent-digests.js';
import { suggested } from '../../system/command-line.js';

/** What an engine that keeps whole filesystems says of what lies beside it. */
export const CONTENTS = 'contents.json';

/** Writes it and returns what the list of digests is to say of it. */
export async function writeContentsFile(dataDirectory: string, contents: object): Promise<StoredFile> {
  const text = `${JSON.stringify(contents, undefined, 2)}\n`;
  await writeDurably(path.join(dataDirectory, CONTENTS), text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { name: CONTENTS, sha256, bytes: Buffer.byteLength(text) };
}

/** Undefined where there is none. Rejects with `failed` for one that cannot be read. */
export async function findContentsFile<T>(
  dataDirectory: string,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  const file = path.join(dataDirectory, CONTENTS);
  try {
    if ((await isRealDirectory(dataDirectory)) === false) throw new Error(`${dataDirectory} is no directory`);
    return schema.parse(JSON.parse(await readStored(file)));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new FsbackupError('failed', `${file} does not tell what is in the backup`, {
      hint: 'What lies beside it can be restored all the same: see docs/restore-without-fsbackup.md.',
      cause: error,
    });
  }
}

/** As `findContentsFile`, rejecting also where there is none. */
export async function readContentsFile<T>(dataDirectory: string, schema: z.ZodType<T>): Promise<T> {
  const contents = await findContentsFile(dataDirectory, schema);
  if (contents !== undefined) return contents;
  throw new FsbackupError('failed', `${dataDirectory} has no ${CONTENTS}`, {
    hint: `Choose another backup; \`${suggested('backups list')}\` shows those that there are.`,
  });
}
