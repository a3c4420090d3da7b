import { readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isWithin } from './mountinfo.js';
import { OWNER_VARIABLE, ownerMark, type ProcessIdentity } from './process-identity.js';
import { listPids, readEnvironment, signalAll } from './process-table.js';
import { viewDirectory } from './sealed-view.js';

const TERM_MS = 2000;
const KILL_MS = 10_000;
const POLL_MS = 20;

/** A process that is not there any more, or that we may not look at, has nothing. */
async function tolerant<T>(work: Promise<T>, otherwise: T): Promise<T> {
  return await work.catch(() => otherwise);
}

/** Whether a process has a file below one of `directories` open, or is in it. */
async function uses(pid: number, directories: readonly string[]): Promise<boolean> {
  const base = `/proc/${pid}`;
  const descriptors = await tolerant(readdir(path.join(base, 'fd')), []);
  const links = ['cwd', 'root', ...descriptors.map((descriptor) => `fd/${descriptor}`)];
  const targets = await Promise.all(links.map((link) => tolerant(readlink(path.join(base, link)), '')));
  return targets.some((target) => directories.some((directory) => isWithin(target, directory)));
}

async function findOrphans(mark: string, directories: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await listPids()) {
    const isMarked = (await readEnvironment(pid)).includes(`${OWNER_VARIABLE}=${mark}`);
    if (isMarked && (await uses(pid, directories))) found.push(pid);
  }
  return found;
}

/**
 * Ends the copy programs that a dead process left running, since they keep its mounts busy: those that bear its mark
 * in their environment and use one of `directories`, or its sealed view. A daemon that a hook started bears the mark too, and is left
 * alone. SIGTERM, then SIGKILL; resolves when none is left, or after 12 s.
 */
export async function endOrphans(
  owner: Pick<ProcessIdentity, 'pid' | 'startTime'>,
  directories: readonly string[],
): Promise<void> {
  const mark = ownerMark(owner);
  const own = await tolerant(viewDirectory(owner.pid), undefined);
  const used = own === undefined ? directories : [...directories, own];
  for (const [signal, limitMs] of [
    ['SIGTERM', TERM_MS],
    ['SIGKILL', KILL_MS],
  ] as const) {
    const deadline = performance.now() + limitMs;
    let orphans = await findOrphans(mark, used);
    signalAll(orphans, signal);
    while (orphans.length > 0 && performance.now() < deadline) {
      await sleep(POLL_MS);
      orphans = await findOrphans(mark, used);
    }
    if (orphans.length === 0) return;
  }
}
