import type { JobConfig, SourceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import type { SourceFacts } from './facts.js';

/**
 * What one snapshot serves, however many mounts show it: a superblock; of btrfs a subvolume, since a snapshot of one
 * holds nothing of the others.
 */
export function snapshotIdentity({ mount, subvolumeDevice = '' }: FilesystemFacts): string {
  return `${mount.majorMinor} ${subvolumeDevice}`;
}

/** How a snapshot is to be taken, as far as a configuration says so. */
type Asked = Pick<SourceConfig, 'snapshot' | 'freezeMode' | 'lvm'>;

/** A command array is written for one mountpoint, and a live tree has no snapshot to share. */
function sharesSnapshot({ snapshot }: SourceConfig): boolean {
  return snapshot !== 'command' && snapshot !== 'none';
}

function refuse(first: SourceConfig, second: SourceConfig, what: string): FsbackupError {
  return new FsbackupError(
    'usage',
    `${first.path} and ${second.path} lie on one filesystem, which is snapshotted once, and differ in ${what}`,
    { hint: `Write the same \`${what}\` for both, or leave it out of one of them.` },
  );
}

function conflict(a: SourceConfig, b: SourceConfig): string | undefined {
  if (a.snapshot !== 'auto' && b.snapshot !== 'auto' && a.snapshot !== b.snapshot) return 'snapshot';
  if (a.freezeMode !== 'auto' && b.freezeMode !== 'auto' && a.freezeMode !== b.freezeMode)
    return 'freezeMode';
  if (a.lvm !== undefined && b.lvm !== undefined && JSON.stringify(a.lvm) !== JSON.stringify(b.lvm))
    return 'lvm';
  return undefined;
}

/**
 * What a job asks of each filesystem: what any of the sources on it asks counts for all of them, so that one snapshot
 * can serve them. By `snapshotIdentity`. Pure. Throws `usage` where two ask for what cannot both be.
 */
export function askedOfFilesystems(job: JobConfig, facts: readonly SourceFacts[]): Map<string, Asked> {
  const sharing = job.sources.flatMap((source, index) => {
    const filesystem = facts[index]?.filesystem;
    return filesystem === undefined || !sharesSnapshot(source)
      ? []
      : [{ source, identity: snapshotIdentity(filesystem) }];
  });
  const asked = new Map<string, Asked>();
  for (const [index, { source, identity }] of sharing.entries()) {
    for (const other of sharing.slice(0, index)) {
      if (other.identity !== identity) continue;
      const what = conflict(other.source, source);
      if (what !== undefined) throw refuse(other.source, source, what);
    }
    const known = asked.get(identity);
    const lvm = known?.lvm ?? source.lvm;
    asked.set(identity, {
      snapshot: known === undefined || known.snapshot === 'auto' ? source.snapshot : known.snapshot,
      freezeMode: known === undefined || known.freezeMode === 'auto' ? source.freezeMode : known.freezeMode,
      ...(lvm === undefined ? {} : { lvm }),
    });
  }
  return asked;
}

/** A source as it counts: with what is asked of its filesystem anywhere in the job. Pure. */
export function withWhatIsAsked(
  source: SourceConfig,
  filesystem: FilesystemFacts,
  asked: ReadonlyMap<string, Asked>,
): SourceConfig {
  if (!sharesSnapshot(source)) return source;
  return { ...source, ...asked.get(snapshotIdentity(filesystem)) };
}
