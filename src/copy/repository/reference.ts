import { unlink } from 'node:fs/promises';
import path from 'node:path';
import type * as z from 'zod';
import { errnoOf, FsbackupError } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { exists } from '../../system/exists.js';
import { readStored } from '../stored/stored-file.js';

const REFERENCE = 'reference.json';
const WRITING = 'writing';

/**
 * What `data` holds of a backup that lies in a repository: `reference.json`, by which the engine finds it there. While
 * the engine's program writes, `writing` says that there may be something in the repository which nobody knows by name.
 */
export class ReferenceFile<Schema extends z.ZodType> {
  readonly #schema: Schema;

  constructor(schema: Schema) {
    this.#schema = schema;
  }

  /** Before the program is started that may write to the repository. */
  async announce(dataDirectory: string): Promise<void> {
    await writeDurably(path.join(dataDirectory, WRITING), '');
  }

  /** When it is known that nothing was written that anybody could find. */
  async withdraw(dataDirectory: string): Promise<void> {
    try {
      await unlink(path.join(dataDirectory, WRITING));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  async write(dataDirectory: string, reference: z.infer<Schema>): Promise<void> {
    await writeDurably(path.join(dataDirectory, REFERENCE), `${JSON.stringify(reference, undefined, 2)}\n`);
    await this.withdraw(dataDirectory);
  }

  /** Whether there is, or may be, something of the backup in the repository. */
  async mayExist(dataDirectory: string): Promise<boolean> {
    for (const name of [REFERENCE, WRITING]) {
      try {
        if (await exists(path.join(dataDirectory, name))) return true;
      } catch {
        return true;
      }
    }
    return false;
  }

  /** Rejects with `failed` where there is none, or one that cannot be read. */
  async read(dataDirectory: string): Promise<z.infer<Schema>> {
    const file = path.join(dataDirectory, REFERENCE);
    try {
      return this.#schema.parse(JSON.parse(await readStored(file)));
    } catch (error) {
      throw new FsbackupError('failed', `${file} does not tell where the backup is`, {
        hint: 'The repository may have it all the same: see docs/restore-without-fsbackup.md.',
        cause: error,
      });
    }
  }
}
