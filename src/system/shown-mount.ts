import { realpath } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { mountOfPath, readMounts } from './mountinfo.js';

/** What the kernel appends to the root of a mount whose directory, or subvolume, was deleted (proc_pid_mountinfo(5)). */
const DELETED = '//deleted';

/**
 * Names the mount that `directory` is read through; another name later means that it shows something else by then. Undefined
 * where there is no such directory, or where it was deleted below its mount.
 */
export async function shownMount(directory: string): Promise<string | undefined> {
  let found: string;
  try {
    found = await realpath(directory);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
  const mount = mountOfPath(await readMounts(), found);
  if (mount === undefined || mount.root.endsWith(DELETED)) return undefined;
  return `${mount.mountId} ${mount.majorMinor}`;
}
