import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Capability } from '../capabilities.js';
import type { ThrowawayDisks } from '../throwaway-filesystem.js';
import type { Database } from './database.js';
import { PostgresqlDatabase } from './postgresql.js';
import type { BackedUp } from './prove-backup.js';
import { SqliteDatabase } from './sqlite.js';

export const DATABASES = ['sqlite', 'postgresql'] as const;
export type DatabaseName = (typeof DATABASES)[number];

export const STORAGES = ['ext4', 'xfs', 'btrfs'] as const;
export type StorageName = (typeof STORAGES)[number];

export const DATABASE_NEEDS: readonly Capability[] = [
  ...(['root', 'loop', 'ext4', 'xfs', 'btrfs'] as const),
  ...(['program:rsync', 'program:sqlite3', 'postgresql'] as const),
];

/** A database and where it lies. */
export interface LiveDatabase {
  place: BackedUp;
  database: Database;
}

/** Makes a database on a filesystem of its own: btrfs, or in an image on XFS that is cloned. */
export async function makeDatabase(
  disks: ThrowawayDisks,
  name: DatabaseName,
  storage: StorageName,
): Promise<LiveDatabase> {
  // PostgreSQL's user must get to what is in it.
  await chmod(disks.directory, 0o711);
  const on = storage === 'btrfs' ? undefined : await disks.filesystem({ fstype: 'xfs', sizeMiB: 4096 });
  const { mountpoint } = await disks.filesystem({
    fstype: storage,
    sizeMiB: 1024,
    ...(on === undefined ? {} : { on }),
  });
  const directory = path.join(mountpoint, 'database');
  const outside = path.join(disks.directory, 'outside');
  const target = path.join(disks.directory, 'backups');
  await mkdir(outside, { mode: 0o711 });
  await mkdir(target);
  const database = name === 'sqlite' ? new SqliteDatabase() : new PostgresqlDatabase(outside);
  return {
    database,
    place: {
      mountpoint,
      directory,
      target,
      scratch: path.join(disks.directory, 'scratch'),
      restored: path.join(disks.directory, 'restored'),
    },
  };
}
