import { constants } from 'node:fs';
import { access, open, stat } from 'node:fs/promises';
import path from 'node:path';
import { runDirectory, stateDirectory } from './directories.js';
import { mountOfDescriptor } from './descriptor-mount.js';
import { notAmongMounts } from './filesystem-facts.js';
import { stackOf } from './filesystem-stack.js';
import { layersBelow } from './layers-below.js';

/** A filesystem that fsbackup itself, or the machine, needs while something is frozen. */
export interface FilesystemInUse {
  /** What for: `standard output`. */
  what: string;
  majorMinor: string;
  /** `major:minor` of the filesystems that it is written to, see `FilesystemFacts`: frozen, they block it too. */
  below: readonly string[];
}

/** Of the mount itself: another may have been put on top of it since the file was opened. */
async function ofDescriptor(what: string, fd: number): Promise<FilesystemInUse | undefined> {
  const mount = await mountOfDescriptor(fd);
  if (mount === undefined) return undefined;
  const { filesystems } = await layersBelow(mount, await stackOf(mount));
  return { what, majorMinor: mount.majorMinor, below: filesystems };
}

async function ofDirectory(what: string, directory: string): Promise<FilesystemInUse[]> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const found = await ofDescriptor(what, handle.fd);
    if (found !== undefined) return [found];
    throw notAmongMounts(directory);
  } finally {
    await handle.close();
  }
}

/** A pipe, a terminal or /dev/null is on no filesystem that can be frozen. */
async function ofOutput(what: string, fd: number): Promise<FilesystemInUse[]> {
  const kind = await stat(`/proc/self/fd/${fd}`).catch(() => undefined);
  const found = kind?.isFile() === true ? await ofDescriptor(what, fd) : undefined;
  return found === undefined ? [] : [found];
}

/** The directory itself, or the nearest above it that exists: where it will be made. */
async function nearestExisting(directory: string): Promise<string> {
  const exists = await access(directory).then(
    () => true,
    () => false,
  );
  return exists || directory === '/' ? directory : await nearestExisting(path.dirname(directory));
}

async function ofNearest(what: string, directory: string): Promise<FilesystemInUse[]> {
  return await ofDirectory(what, await nearestExisting(directory));
}

/** The filesystems that must not be frozen by us: root's, and those of our outputs and state. */
export async function readFilesystemsInUse(): Promise<FilesystemInUse[]> {
  const found = await Promise.all([
    ofDirectory('the root directory', '/'),
    ofOutput('standard output', 1),
    ofOutput('standard error', 2),
    ofNearest('the state directory', stateDirectory()),
    ofNearest('the run directory', runDirectory()),
  ]);
  return found.flat();
}
