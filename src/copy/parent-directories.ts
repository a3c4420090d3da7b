import { chmod, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../errors.js';
import { exists } from '../system/exists.js';
import { isWithin } from '../system/mountinfo.js';
import { runCommand } from '../system/run-command.js';
import { copyFailure, copyStopped } from './copy-error.js';
import type { CopySource } from './engine.js';
import { parentsOf, pathInBackup } from './source-layout.js';
import { HashingStream, pipePrograms } from './stream-pipe.js';

/** Not lstat: /home may be a symlink to the directory that people know as /home. */
async function isLive(directory: string): Promise<boolean> {
  try {
    return (await stat(directory)).isDirectory();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** ACLs too, which the kernel keeps in some: without one, what is its mask would be the rights of the owning group. */
const ALL_XATTRS = ['--xattrs', '--xattrs-include=*'] as const;

/** Copies directories themselves, and nothing in them, with all that they have. By tar: cp(1) would go down into them. */
async function copyDirectories(parents: readonly string[], root: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw copyStopped();
  const names = parents.map((parent) => `--add-file=${pathInBackup(parent)}`);
  const how = [
    '--format=pax',
    '--no-unquote',
    '--no-recursion',
    '--dereference',
    '--numeric-owner',
    ...ALL_XATTRS,
  ];
  const into = ['--same-owner', '--preserve-permissions', '--numeric-owner', '--delay-directory-restore'];
  const { sent, taken } = await pipePrograms(
    {
      from: ['tar', '--create', '--file=-', '--directory=/', ...how, ...names],
      to: ['tar', '--extract', '--file=-', `--directory=${root}`, ...into, ...ALL_XATTRS],
      through: new HashingStream(),
      signal,
    },
    runCommand,
  );
  if (signal.aborted) throw copyStopped();
  if (taken.exitCode !== 0) throw copyFailure('tar', taken);
  // 1: something changed while it was read, as a live /home may.
  if (sent.exitCode !== 0 && sent.exitCode !== 1) throw copyFailure('tar', sent);
}

/**
 * Makes, below `root`, the directories above each source (themselves only, nothing in them), with the owner, mode, ACLs
 * and extended attributes that they have on the live system, so that a source below a private directory stays private
 * when restored; root's, 0755, where the live system does not have them. Those that exist below `root` are left as they are.
 */
export async function makeParents(
  root: string,
  sources: readonly CopySource[],
  signal: AbortSignal,
): Promise<void> {
  const live: string[] = [];
  const gone: string[] = [];
  for (const parent of new Set(sources.flatMap((source) => parentsOf(source.path)))) {
    if (await exists(path.join(root, pathInBackup(parent)))) continue;
    ((await isLive(parent)) ? live : gone).push(parent);
  }
  if (live.length > 0) await copyDirectories(live, root, signal);
  for (const parent of gone) {
    const directory = path.join(root, pathInBackup(parent));
    await mkdir(directory);
    await chmod(directory, 0o755);
  }
}

/** Sets the time of one, if it lives. */
async function setParentTime(root: string, parent: string): Promise<void> {
  if (!(await isLive(parent))) return;
  const directory = path.join(root, pathInBackup(parent));
  // Node would cut what is below a microsecond.
  const result = await runCommand(['touch', '--no-create', `--reference=${parent}`, '--', directory]);
  if (result.exitCode !== 0) throw copyFailure('touch', result);
}

/** Sets, once nothing is made in them any more, the times of those parents that lie in no source. */
export async function setParentTimes(root: string, sources: readonly CopySource[]): Promise<void> {
  const parents = [...new Set(sources.flatMap((source) => parentsOf(source.path)))];
  const apart = parents.filter((parent) => !sources.some((source) => isWithin(parent, source.path)));
  await Promise.all(apart.map((parent) => setParentTime(root, parent)));
}
