import { asLines, withoutControls } from '../../report/controls.js';
import type { Unmounted } from './mount-backup.js';
import type { MountRecord } from './mount-records.js';
import { suggested } from '../../system/command-line.js';

/** A mounted backup in the JSON of `backups mount`, `backups umount` and `status`: stable. */
export type MountedBackup = Pick<
  MountRecord,
  'target' | 'job' | 'backupId' | 'directory' | 'kind' | 'mountedAt'
>;

export function mountedBackup(record: MountRecord): MountedBackup {
  const { target, job, backupId, directory, kind, mountedAt } = record;
  return { target, job, backupId, directory, kind, mountedAt };
}

/** For people, once it is mounted. */
export function renderMounted({ job, backupId, directory, kind }: MountRecord): string {
  const until = kind === 'process' ? 'until this ends (Ctrl-C)' : 'until it is unmounted';
  return withoutControls(
    `${job}@${backupId} is shown at ${directory}, read-only, ${until}: ${suggested('backups umount', [directory])}`,
  );
}

export function renderUnmounted({ record: { job, backupId, directory }, wasMounted }: Unmounted): string {
  const what = `${job}@${backupId}`;
  return withoutControls(
    wasMounted ? `Unmounted ${what} from ${directory}` : `${what} was not mounted at ${directory} any more`,
  );
}

/** The part of `status` for people; empty where nothing is mounted, and that is known. */
export function renderMounts(mounts: readonly MountedBackup[], unread: readonly string[] = []): string {
  if (unread.includes('mounts')) return 'Mounted backups: NOT KNOWN, see the errors';
  const lines = mounts.map(
    ({ job, backupId, directory, mountedAt }) => `  ${job}@${backupId} at ${directory} since ${mountedAt}`,
  );
  return lines.length === 0 ? '' : asLines(['Mounted backups:', ...lines]);
}
