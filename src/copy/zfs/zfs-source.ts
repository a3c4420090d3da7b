import { FsbackupError } from '../../errors.js';
import { findZfsSnapshot } from '../../snapshots/zfs-snapshot.js';
import type { SnapshotRef } from '../../snapshots/provider.js';
import { describeZfsFailure, parseRows, runZfs } from '../../system/zfs.js';
import type { CopyBase } from '../engine.js';
import type { SentZfsSnapshot, ZfsContents } from './zfs-contents.js';
import { shellWord } from '../../system/command-line.js';

/** A snapshot of ZFS on this host. */
export interface ZfsSource {
  /** `tank/srv@name`. */
  full: string;
  guid: string;
  isEncrypted: boolean;
  /** Of its dataset: without it, ACLs of what was received are there and nobody sees them. `-` for a volume. */
  acltype: string;
}

/** The snapshot of a ref; undefined when it is not there any more. */
export async function readZfsSource(ref: SnapshotRef): Promise<ZfsSource | undefined> {
  const { dataset, run } = ref.data;
  if (ref.provider !== 'zfs' || dataset === undefined || run === undefined) {
    throw new FsbackupError('usage', `zfs-send sends snapshots of ZFS, and ${ref.mountpoint} has none`, {
      hint: 'Choose another engine for it: rsync, tar.',
    });
  }
  const full = await findZfsSnapshot({ dataset, name: ref.name, run });
  if (full === undefined) return undefined;
  const got = await runZfs(['zfs', 'get', '-H', '-p', '-o', 'property,value', 'guid,encryption', full]);
  const values = new Map(parseRows(got.stdout).map(([property = '', value = '']) => [property, value]));
  const guid = values.get('guid');
  if (got.exitCode !== 0 || guid === undefined) {
    throw new FsbackupError('copyFailed', `${full} cannot be looked at: ${describeZfsFailure('zfs', got)}`, {
      hint: `Try by hand: zfs get guid ${shellWord(full)}`,
    });
  }
  const encryption = values.get('encryption') ?? 'off';
  const [ofDataset = ''] = full.split('@');
  const asked = await runZfs(['zfs', 'get', '-H', '-o', 'value', 'acltype', ofDataset]);
  const acltype = asked.exitCode === 0 ? asked.stdout.trim() : '-';
  return {
    acltype,
    full,
    guid,
    isEncrypted: encryption !== 'off' && encryption !== '-',
  };
}

/** What an increment is made from. */
export interface ZfsParent {
  /** The kept snapshot, on the source. */
  full: string;
  backupId: string;
  sent: SentZfsSnapshot;
}

/** What it must fit. */
export interface Wanted {
  ref: SnapshotRef;
  source: ZfsSource;
  kind: ZfsContents['kind'];
  /** What the base's backup says of itself. */
  contents: ZfsContents | undefined;
  /** Whether what was made of the base is there to take an increment. */
  isThere: (sent: SentZfsSnapshot) => Promise<boolean>;
}

/** Finds what an increment can be made of, proven by its guid, or why there is none: a clause. */
export async function findZfsParent(
  base: CopyBase,
  { ref, source, kind, contents, isThere }: Wanted,
): Promise<ZfsParent | string> {
  let reason = 'the snapshot that was kept for it is not there any more';
  for (const { snapshot: kept, identity } of base.snapshots) {
    if (kept.provider !== 'zfs' || kept.data['dataset'] !== ref.data['dataset']) continue;
    const found = await readZfsSource(kept);
    if (found === undefined) continue;
    if (found.guid !== identity) {
      reason = 'the snapshot that was kept for it is another one';
      continue;
    }
    const sent =
      contents?.kind === kind ? contents.snapshots.find(({ guid }) => guid === found.guid) : undefined;
    if (sent === undefined || sent.isRaw !== source.isEncrypted || !(await isThere(sent))) {
      reason = `the backup ${base.backupId} does not have, as the last of its dataset, what it is to be an increment of`;
      continue;
    }
    return { full: found.full, backupId: base.backupId, sent };
  }
  return reason;
}
