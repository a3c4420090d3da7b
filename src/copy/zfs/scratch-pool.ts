import { open } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { FsbackupError } from '../../errors.js';
import type { Payload } from '../../journal/entry.js';
import type { Journal } from '../../journal/journal.js';
import { describeFailure, type CommandResult, type runCommand } from '../../system/run-command.js';
import { copyFailure } from '../copy-error.js';
import { shellWord } from '../../system/command-line.js';

type Run = typeof runCommand;
type ScratchPool = Payload<'scratch-pool'>;

const TIMEOUT_MS = 120_000;

function stillThere({ pool }: ScratchPool, why: string, cause?: unknown): FsbackupError {
  return new FsbackupError(
    'cleanupIncomplete',
    `the pool ${pool}, which was made for this restore, is still there: ${why}`,
    {
      hint: `Find out who uses it, then \`zpool destroy -f ${shellWord(pool)}\`: until then its space is not given back.`,
      cause,
    },
  );
}

/** What a pool lies on; undefined where there is none of that name. */
async function devicesOf(scratch: ScratchPool, run: Run): Promise<string[] | undefined> {
  // Without -H and -P names may be cut, and paths are not told.
  const listed = await run(['zpool', 'list', '-H', '-v', '-P', scratch.pool], { timeoutMs: TIMEOUT_MS });
  if (listed.exitCode === 0) {
    const names = listed.stdout.split('\n').map((line) => line.replace(/^\t+/, '').split('\t')[0] ?? '');
    return names.filter((name) => name.startsWith('/'));
  }
  if (listed.exitCode !== undefined && /no such pool/.test(listed.stderr)) return undefined;
  throw stillThere(scratch, describeFailure('zpool', listed));
}

function destroy({ pool }: ScratchPool, run: Run): Promise<CommandResult> {
  return run(['zpool', 'destroy', '-f', pool], { timeoutMs: TIMEOUT_MS });
}

/**
 * Destroys the pool of a restore that is dead. Idempotent. Rejects with `cleanupIncomplete`, also for a pool of that name
 * which lies on anything else than its file.
 */
export async function removeScratchPool(scratch: ScratchPool, run: Run): Promise<void> {
  const devices = await devicesOf(scratch, run);
  if (devices === undefined) return;
  if (devices.length !== 1 || devices[0] !== scratch.file) {
    throw new FsbackupError(
      'cleanupIncomplete',
      `the pool ${scratch.pool} is not destroyed: it lies on ${devices.join(', ') || 'nothing known'}, and not on ${scratch.file}`,
      { hint: 'See whose it is; rename it, or destroy it by hand, then run fsbackup recover.' },
    );
  }
  const destroyed = await destroy(scratch, run);
  if (destroyed.exitCode !== 0) throw stillThere(scratch, describeFailure('zpool', destroyed));
}

/** What a pool for a restore is made with. */
export interface ScratchPoolRequest {
  /** A private directory, for its file. */
  scratch: string;
  /** That it must hold. */
  bytes: number;
  /** For `recover`; undefined: nobody destroys it when we are killed. */
  journal: Journal | undefined;
  run: Run;
}

/**
 * Runs `work` with a pool in a sparse file, which is gone afterwards. Rejects with `cleanupIncomplete` where the pool could
 * not be destroyed, whatever became of `work`: its file is about to be removed under it, and the kernel keeps a file that
 * is in use by nobody's name.
 */
export async function withScratchPool<T>(
  { scratch, bytes, journal, run }: ScratchPoolRequest,
  work: (pool: string) => Promise<T>,
): Promise<T> {
  const file = path.join(scratch, 'pool');
  const pool = `fsbackup-restore-${process.pid}-${Date.now().toString(36)}`;
  const handle = await open(file, 'wx', 0o600);
  await handle.truncate(1024 ** 3 + 2 * bytes);
  await handle.close();
  const entry = await journal?.record('scratch-pool', { pool, file });
  const options = ['-o', 'cachefile=none', '-O', 'mountpoint=none', '-O', 'canmount=off'];
  const made = await run(['zpool', 'create', ...options, pool, file], { timeoutMs: TIMEOUT_MS });
  if (made.exitCode !== 0) {
    // One that was killed may have made it.
    if (entry !== undefined) await removeScratchPool({ pool, file }, run);
    await entry?.remove();
    throw copyFailure('zpool', made);
  }
  let failed: unknown;
  const result = await work(pool).catch((error: unknown) => {
    failed = error;
  });
  const destroyed = await destroy({ pool, file }, run);
  if (destroyed.exitCode !== 0) throw stillThere({ pool, file }, describeFailure('zpool', destroyed), failed);
  await entry?.remove();
  if (failed !== undefined) throw failed;
  return result as T;
}
