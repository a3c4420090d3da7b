import path from 'node:path';
import * as z from 'zod';
import { isBackupId } from '../backup/backup-layout.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@:+-]*$/;
/** NAME_MAX, with room for what is put after a name. */
const MAX_NAME_CHARACTERS = 200;
/** PATH_MAX, each byte of which may be a character. */
const MAX_PATH_CHARACTERS = 4096;

function staysBelow(name: string): boolean {
  return !name.split('/').includes('..') && !name.includes('\0');
}

/** What a snapshot is called, and files and directories after it: one name, which leads nowhere. */
export const storedName = z.string().max(MAX_NAME_CHARACTERS).regex(NAME);

/** What an increment is made of: something of another backup of its job. */
export const storedParent = z.object({ backupId: z.string().refine(isBackupId), name: storedName });

/** A path on the live system that a backup holds. It becomes one below where that is restored. */
export const storedPath = z
  .string()
  .max(MAX_PATH_CHARACTERS)
  .refine((one) => path.isAbsolute(one) && staysBelow(one));

/** A place in what a snapshot showed: relative to it, or as an absolute path of its own; empty for all of it. */
export const storedPlace = z.string().max(MAX_PATH_CHARACTERS).refine(staysBelow);
