import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { parseZvolName, zvolDevice, zvolOfDisk } from '../system/zvol.js';
import { describeZfsFailure, runZfs } from '../system/zfs.js';
import { RUN_PROPERTY } from './zfs-snapshot.js';
import { shellWord } from '../system/command-line.js';

/** A clone of a snapshot of a zvol. */
export interface ZvolClone {
  /** `tank/vol@…`. */
  snapshot: string;
  name: string;
  run: string;
  partition: number | undefined;
  takenFrozen: boolean;
}

/** Beside the zvol, whose parent it inherits encryption and the like from. */
function cloneName(dataset: string, name: string): string {
  return path.posix.join(path.posix.dirname(dataset), name);
}

async function isZvol(name: string): Promise<boolean> {
  const listed = await runZfs(['zfs', 'list', '-H', '-t', 'volume', '-o', 'name', name]);
  return listed.exitCode === 0;
}

/**
 * Clones a snapshot of a zvol so that it has a device, and resolves to that. Idempotent.
 *
 * A clone, and not `snapdev=visible`: that is a property of the user's own zvol, shows all of its snapshots, and would
 * stay set where a run dies. A clone of one taken frozen is read-only, so that nothing can be replayed into it; one
 * that was not is writable, so that the kernel replays the log when it mounts it read-only: what it shows is then what
 * a power cut would have left, and not less.
 */
export async function exposeZvol({
  snapshot,
  name,
  run,
  partition,
  takenFrozen,
}: ZvolClone): Promise<string> {
  const clone = cloneName(snapshot.split('@', 1)[0] ?? snapshot, name);
  if (!(await isZvol(clone))) {
    const properties = [
      `${RUN_PROPERTY}=${run}`,
      `readonly=${takenFrozen ? 'on' : 'off'}`,
      // `dev` spares the host the search for partitions where there are none.
      `volmode=${partition === undefined ? 'dev' : 'full'}`,
      // A tool that snapshots every dataset would otherwise keep the clone from being destroyed.
      'com.sun:auto-snapshot=false',
    ];
    const options = properties.flatMap((property) => ['-o', property]);
    const cloned = await runZfs(['zfs', 'clone', ...options, snapshot, clone]);
    if (cloned.exitCode !== 0) {
      throw new FsbackupError(
        'snapshotFailed',
        `The snapshot ${snapshot} cannot be cloned: ${describeZfsFailure('zfs', cloned)}`,
        { hint: `Try by hand: zfs clone ${shellWord(snapshot)} ${shellWord(clone)}` },
      );
    }
  }
  return await zvolDevice(clone, partition);
}

/** Whether a device, by its kernel name, is the clone `name`. */
export async function isCloneOf(device: string | undefined, name: string): Promise<boolean> {
  const disk = device === undefined ? undefined : parseZvolName(device)?.disk;
  const zvol = disk === undefined ? undefined : await zvolOfDisk(disk);
  return zvol !== undefined && path.posix.basename(zvol) === name;
}
