import * as z from 'zod';
import { ENGINE_NAMES } from '../engine-names.js';
import { filesystemIdentitySchema } from '../system/filesystem-identity.js';

/**
 * What the journal can prove, one schema per kind of held thing. An entry is read by a later process, perhaps a later
 * version of fsbackup: what does not fit is reported and never guessed at.
 */
export const snapshotRefSchema = z.object({
  provider: z.enum(['reflink', 'btrfs', 'zfs', 'lvm', 'mirror', 'command']),
  name: z.string().min(1),
  mountpoint: z.string().min(1),
  fstype: z.string(),
  takenFrozen: z.boolean(),
  data: z.record(z.string(), z.string()),
});

/**
 * The filesystem that it lies on, where it could be known again: what is not to be seen is gone only where that is there.
 * Older versions did not write it.
 */
const storage = filesystemIdentitySchema.exactOptional();

const payloads = {
  /**
   * An application at rest, as it may be across a reboot (a maintenance mode that is a file): the command that releases it. `isAtRest` once the command that brought it to rest has ended
   * well; until then that may be at work.
   */
  quiesce: z.object({
    name: z.string(),
    after: z.array(z.string()).min(1),
    timeoutMs: z.number(),
    isAtRest: z.literal(true).exactOptional(),
  }),
  /** A snapshot shown at a directory. */
  exposure: z.object({ snapshot: snapshotRefSchema, path: z.string().min(1) }),
  /** A thin pool of LVM that keeps its metadata as they are, to be read: the device that takes its messages. */
  'pool-metadata': z.object({ device: z.string().min(1) }),
  /** A snapshot that exists, or may. */
  snapshot: snapshotRefSchema,
  /** A backup that was begun and has no manifest yet. */
  backup: z.object({
    target: z.string().min(1),
    engine: z.enum(ENGINE_NAMES),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** The repository, where the target is the catalogue of one. */
    repository: z.string().exactOptional(),
    storage,
  }),
  /** A backup that is restored to try it: the directory, with all that is in it. */
  drill: z.object({ directory: z.string().startsWith('/'), storage }),
  /**
   * A private directory in which a restore puts what is on its way. `identity` is there as soon as the directory is, and
   * before there is anything in it: its inode and when that was born, which tell it from one that somebody else made.
   */
  staging: z.object({
    directory: z.string().startsWith('/'),
    identity: z.object({ inode: z.string().min(1), bornNs: z.string().min(1) }).exactOptional(),
  }),
  /**
   * The names that a restore has in its destination while it makes hard links: all that begin with the token's prefix in
   * these directories, which are relative to the destination. In place that is the root directory.
   */
  'restore-links': z.object({
    destination: z.string().startsWith('/'),
    token: z.string().regex(/^[0-9a-f]{16}$/),
    directories: z.array(z.string().min(1)),
  }),
  /** A ZFS pool that a restore receives into, in a file of its own. */
  'scratch-pool': z.object({ pool: z.string().min(1), file: z.string().startsWith('/') }),
  /** A complete backup that retention takes away. */
  removal: z.object({
    target: z.string().min(1),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** As that of `backup`. */
    repository: z.string().exactOptional(),
    storage,
  }),
} as const;

export type HeldKind = keyof typeof payloads;
export type Payload<K extends HeldKind> = z.infer<(typeof payloads)[K]>;

const common = {
  version: z.literal(1),
  id: z.string().min(1),
  createdAt: z.string(),
  bootId: z.string(),
  runId: z.string().min(1),
  /** Whose job lock tells whether the owner lives. */
  job: z.string().min(1),
  pid: z.number().int(),
  startTime: z.number(),
};

export const journalEntrySchema = z.discriminatedUnion('kind', [
  z.object({ ...common, kind: z.literal('quiesce'), payload: payloads.quiesce }),
  z.object({ ...common, kind: z.literal('exposure'), payload: payloads.exposure }),
  z.object({ ...common, kind: z.literal('pool-metadata'), payload: payloads['pool-metadata'] }),
  z.object({ ...common, kind: z.literal('snapshot'), payload: payloads.snapshot }),
  z.object({ ...common, kind: z.literal('backup'), payload: payloads.backup }),
  z.object({ ...common, kind: z.literal('drill'), payload: payloads.drill }),
  z.object({ ...common, kind: z.literal('staging'), payload: payloads.staging }),
  z.object({ ...common, kind: z.literal('restore-links'), payload: payloads['restore-links'] }),
  z.object({ ...common, kind: z.literal('scratch-pool'), payload: payloads['scratch-pool'] }),
  z.object({ ...common, kind: z.literal('removal'), payload: payloads.removal }),
]);

/** One held thing: written before it is acquired, removed after it is released. */
export type JournalEntry = z.infer<typeof journalEntrySchema>;

/** What does not outlive a reboot is journalled where nothing does. Earlier versions had `quiesce` there, too. */
export function isVolatile(kind: HeldKind): boolean {
  return kind === 'exposure';
}
