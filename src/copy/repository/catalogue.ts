import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { FsbackupError } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { ensurePrivateDirectory, stateDirectory } from '../../system/directories.js';
import { exists } from '../../system/exists.js';
import { isWithin } from '../../system/mountinfo.js';
import { readTrustedFile } from '../../system/trusted-file.js';
import { CATALOGUES, FOUND, type BackupTarget, type RepositorySettings } from '../../backup-target.js';
import type { TargetCommand } from '../../target-commands.js';

const secretSource = z.union([
  z.strictObject({ file: z.string() }),
  z.strictObject({ command: z.array(z.string()) }),
  z.strictObject({ credential: z.string() }),
]);

const argv = z.array(z.string()).exactOptional();
const commands = z.object({
  check: argv,
  copy: argv,
  write: argv,
  read: argv,
  size: argv,
  restore: argv,
  list: argv,
  verify: argv,
  remove: argv,
} satisfies Record<TargetCommand, typeof argv>);

const catalogueSchema = z.object({
  version: z.literal(1),
  repository: z.object({
    repository: z.string().min(1),
    initialise: z.boolean(),
    password: secretSource.exactOptional(),
    environment: z.record(z.string(), z.union([z.string(), secretSource])),
    options: z.record(z.string(), z.string()).exactOptional(),
    commands: commands.exactOptional(),
    exitCodes: z
      .object({ partial: z.number().exactOptional(), retry: z.number().exactOptional() })
      .exactOptional(),
  }),
});

function catalogueFile(directory: string): string {
  return path.join(directory, 'catalogue.json');
}

/**
 * Makes the catalogue of a repository, or brings it up to date: it tells which repository it is of and how to reach it,
 * so that `recover` and a restore find that without a configuration. Idempotent. Nothing for a target without one.
 */
export async function openCatalogue({ path: directory, repository }: BackupTarget): Promise<void> {
  if (repository === undefined) return;
  await ensurePrivateDirectory(directory);
  const text = `${JSON.stringify({ version: 1, repository }, undefined, 2)}\n`;
  const file = catalogueFile(directory);
  const before = await readFile(file, 'utf8').catch(() => undefined);
  if (before !== text) await writeDurably(file, text);
}

/** Whether a target's catalogue was made here already. */
export async function hasCatalogue({ path: directory }: BackupTarget): Promise<boolean> {
  return await exists(catalogueFile(directory));
}

/** Repositories that were named to this process and have no catalogue here, by the directory that it would have. */
const named = new Map<string, RepositorySettings>();

/**
 * For who only looks at a target: brings its catalogue up to date where there is one, and makes none; `targetAt` knows the
 * repository all the same, in this process.
 */
export async function consultCatalogue(target: BackupTarget): Promise<void> {
  if (target.repository === undefined) return;
  if (await hasCatalogue(target)) await openCatalogue(target);
  else named.set(target.path, target.repository);
}

/**
 * The repository that a directory is the catalogue of; undefined where it is none. Only those of our own are read: a
 * catalogue may name a command that prints the password, and a disk with backups may be anybody's. Rejects with `usage`.
 */
async function readCatalogue(directory: string): Promise<RepositorySettings | undefined> {
  const own = [CATALOGUES, FOUND].map((name) => path.join(stateDirectory(), name));
  if (!own.some((parent) => isWithin(directory, parent))) return undefined;
  const file = catalogueFile(directory);
  try {
    const text = await readTrustedFile(file);
    return text === undefined ? undefined : catalogueSchema.parse(JSON.parse(text)).repository;
  } catch (error) {
    if (error instanceof FsbackupError) throw error;
    throw new FsbackupError('usage', `${file} does not tell which repository it is the catalogue of`, {
      hint: 'Remove the file: the next run, or a command that reads the configuration, writes it anew.',
      cause: error,
    });
  }
}

/**
 * The target at a directory: with its repository, where the directory is a catalogue, or would be that of one that
 * `consultCatalogue` was told of. Rejects with `usage`.
 */
export async function targetAt(directory: string): Promise<BackupTarget> {
  const repository = (await readCatalogue(directory)) ?? named.get(directory);
  return { path: directory, ...(repository === undefined ? {} : { repository }) };
}
