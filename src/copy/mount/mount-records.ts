import { createHash } from 'node:crypto';
import { readdir, readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { errnoOf } from '../../errors.js';
import { removeDurably, writeDurably } from '../../journal/durable-file.js';
import { ensurePrivateDirectory, runDirectory } from '../../system/directories.js';
import { mountsShowing, readMounts, type Mount } from '../../system/mountinfo.js';
import { visibleMounts } from '../../system/submounts.js';
import { dataDirectory, type BackupRef } from '../backup/backup-layout.js';

const recordSchema = z.object({
  version: z.literal(1),
  target: z.string(),
  job: z.string(),
  backupId: z.string(),
  /** Absolute, free of symlinks. */
  directory: z.string(),
  kind: z.enum(['kernel', 'process']),
  /** RFC 3339. */
  mountedAt: z.iso.datetime(),
  /** Whether the directory was made for it. */
  madeDirectory: z.boolean(),
});

/** A backup that somebody asked to see at a directory. Written before it is mounted; nothing of it outlives a reboot. */
export type MountRecord = z.infer<typeof recordSchema>;

function recordsDirectory(): string {
  return path.join(runDirectory(), 'mounts');
}

function recordFile(directory: string): string {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  return path.join(recordsDirectory(), `${name}.json`);
}

export async function writeMountRecord(record: MountRecord): Promise<void> {
  await ensurePrivateDirectory(recordsDirectory());
  await writeDurably(recordFile(record.directory), `${JSON.stringify(record, undefined, 2)}\n`);
}

/** Idempotent. */
export async function removeMountRecord(directory: string): Promise<void> {
  await removeDurably(recordFile(directory));
}

async function parse(file: string): Promise<MountRecord | undefined> {
  try {
    return recordSchema.safeParse(JSON.parse(await readFile(file, 'utf8'))).data;
  } catch (error) {
    // Removed meanwhile, or torn; what is mounted is known to the kernel.
    if (error instanceof SyntaxError || errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** The record for a directory, whether anything is mounted there or not. */
export async function readMountRecord(directory: string): Promise<MountRecord | undefined> {
  return await parse(recordFile(directory));
}

/** The target of a configuration may be a symlink; mounts are known without. */
async function withoutSymlinks(target: string): Promise<string> {
  return await realpath(target).catch(() => target);
}

/** Whether what is mounted at its directory is what a record tells of. */
export async function isShown(record: MountRecord, mounts: readonly Mount[]): Promise<boolean> {
  const top = visibleMounts(mounts).find(({ mountpoint }) => mountpoint === record.directory);
  if (top === undefined) return false;
  if (record.kind === 'process') return top.fstype.startsWith('fuse');
  const target = await withoutSymlinks(record.target);
  return mountsShowing(mounts, dataDirectory({ ...record, target })).includes(top);
}

/** All records, whether what they tell of is still mounted or not. */
export async function readMountRecords(): Promise<MountRecord[]> {
  let names: string[];
  try {
    names = (await readdir(recordsDirectory())).filter((name) => name.endsWith('.json'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const records = await Promise.all(names.map((name) => parse(path.join(recordsDirectory(), name))));
  return records.filter((record) => record !== undefined);
}

/** The backups that are mounted on demand now, by the records and the kernel, the oldest mount first. */
export async function readMountedBackups(): Promise<MountRecord[]> {
  const mounts = await readMounts();
  const shown: MountRecord[] = [];
  for (const record of await readMountRecords()) {
    if (await isShown(record, mounts)) shown.push(record);
  }
  return shown.toSorted((a, b) => a.mountedAt.localeCompare(b.mountedAt));
}

/** Where each backup is mounted: by our records, and by whoever else has a bind mount of its data. */
export type MountPlaces = (ref: BackupRef) => string[];

/** Reads the records and the kernel's mounts once, for all backups in some targets. */
export async function readMountPlaces(targets: readonly string[]): Promise<MountPlaces> {
  const [records, mounts] = await Promise.all([readMountedBackups(), readMounts()]);
  const real = new Map(
    await Promise.all(targets.map(async (target) => [target, await withoutSymlinks(target)] as const)),
  );
  return (ref) => [
    ...new Set([
      ...records
        .filter(
          ({ target, job, backupId }) =>
            target === ref.target && job === ref.job && backupId === ref.backupId,
        )
        .map(({ directory }) => directory),
      ...mountsShowing(mounts, dataDirectory({ ...ref, target: real.get(ref.target) ?? ref.target })).map(
        ({ mountpoint }) => mountpoint,
      ),
    ]),
  ];
}
