import pRetry from 'p-retry';
import { FsbackupError } from '../errors.js';
import { describeZfsFailure, parseRows, poolOf, readPool, refusePool, runZfs } from '../system/zfs.js';
import { shellWord } from '../system/command-line.js';

/** The user property that proves that a snapshot or a clone is fsbackup's: the job and the id of the run. */
export const RUN_PROPERTY = 'fsbackup:run';
/** Which host made it, for people: a pool may be imported by another. */
export const HOST_PROPERTY = 'fsbackup:host';
/** A held snapshot cannot be destroyed by a job that prunes snapshots. */
const HOLD_TAG = 'fsbackup';

/** udev may still look at a device, a copy program may be on its way out. */
const BUSY = { retries: 8, minTimeout: 50, factor: 2, maxTimeout: 1000 };
const DESTROY_TIMEOUT_MS = 120_000;

/** Names a snapshot that fsbackup was to make. */
export interface ZfsSnapshotName {
  dataset: string;
  name: string;
  /** What its property `fsbackup:run` must be. */
  run: string;
}

function cannotTell(what: string, why: string, hint: string): FsbackupError {
  return new FsbackupError('cleanupIncomplete', `${what}: ${why}`, {
    hint: `${hint}, then run: fsbackup recover`,
  });
}

/** The property as it was set on the thing itself; undefined for one that is inherited, and for what is not there. */
async function ownRun(thing: string): Promise<string | undefined> {
  const got = await runZfs(['zfs', 'get', '-H', '-o', 'value,source', RUN_PROPERTY, thing]);
  if (got.exitCode === 0) {
    const [[value, source] = []] = parseRows(got.stdout);
    return source === 'local' ? value : undefined;
  }
  if (/does not exist/.test(got.stderr)) return undefined;
  throw cannotTell(
    `Whether ${thing} exists cannot be told`,
    describeZfsFailure('zfs', got),
    `See zpool status ${shellWord(poolOf(thing))}`,
  );
}

/** Rejects with `cleanupIncomplete` unless the pool works: what cannot be seen is not for that reason gone. */
export async function requireWorkingPool(dataset: string): Promise<void> {
  const name = poolOf(dataset);
  const refused = refusePool(await readPool(name));
  if (refused === undefined) return;
  throw new FsbackupError('cleanupIncomplete', `Nothing can be removed in ${dataset}: ${refused.reason}`, {
    hint: `${refused.hint}. Then run: fsbackup recover`,
  });
}

/** All snapshots of that name in the pool: by name alone, which needs no look at each of them. */
async function searchPool({ dataset, name }: ZfsSnapshotName): Promise<string[]> {
  const pool = poolOf(dataset);
  const listed = await runZfs([
    'zfs',
    'list',
    '-H',
    '-r',
    '-t',
    'snapshot',
    '-o',
    'name',
    '-s',
    'name',
    pool,
  ]);
  if (listed.exitCode !== 0) {
    const why = describeZfsFailure('zfs', listed);
    throw cannotTell(
      `Whether the snapshot ${name} exists cannot be told`,
      why,
      `See zpool status ${shellWord(pool)}`,
    );
  }
  return parseRows(listed.stdout).flatMap(([found = '']) => (found.endsWith(`@${name}`) ? [found] : []));
}

/**
 * The full name of our snapshot; undefined when it is not there. Found also where its dataset was renamed meanwhile,
 * or a clone promoted over it. Rejects with `cleanupIncomplete` when that cannot be told.
 */
export async function findZfsSnapshot(wanted: ZfsSnapshotName): Promise<string | undefined> {
  const full = `${wanted.dataset}@${wanted.name}`;
  if ((await ownRun(full)) === wanted.run) return full;
  for (const found of await searchPool(wanted)) if ((await ownRun(found)) === wanted.run) return found;
  return undefined;
}

async function holdTags(snapshot: string): Promise<string[]> {
  const held = await runZfs(['zfs', 'holds', '-H', snapshot]);
  return held.exitCode === 0 ? parseRows(held.stdout).flatMap(([, tag]) => tag ?? []) : [];
}

/** Holds a snapshot. Idempotent. Rejects with `snapshotFailed`. */
export async function holdSnapshot(snapshot: string): Promise<void> {
  if ((await holdTags(snapshot)).includes(HOLD_TAG)) return;
  const held = await runZfs(['zfs', 'hold', HOLD_TAG, snapshot]);
  if (held.exitCode === 0) return;
  throw new FsbackupError(
    'snapshotFailed',
    `The snapshot ${snapshot} cannot be held: ${describeZfsFailure('zfs', held)}`,
    { hint: `Try by hand: zfs hold ${HOLD_TAG} ${shellWord(snapshot)}` },
  );
}

async function clonesOf(snapshot: string): Promise<string[]> {
  const got = await runZfs(['zfs', 'get', '-H', '-o', 'value', 'clones', snapshot]);
  const value = got.exitCode === 0 ? got.stdout.trim() : '-';
  return value === '-' || value === '' ? [] : value.split(',');
}

/** Destroys; a busy one is tried again for some seconds. Rejects with `cleanupIncomplete` when `isThere` still. */
async function destroy(
  thing: string,
  flags: readonly string[],
  isThere: () => Promise<boolean>,
  hint: () => Promise<string>,
): Promise<void> {
  await pRetry(async () => {
    const destroyed = await runZfs(['zfs', 'destroy', ...flags, thing], DESTROY_TIMEOUT_MS);
    if (destroyed.exitCode === 0 || !(await isThere())) return;
    throw new FsbackupError(
      'cleanupIncomplete',
      `${thing} could not be destroyed: ${describeZfsFailure('zfs', destroyed)}`,
      { hint: `${await hint()}, then run: fsbackup recover` },
    );
  }, BUSY);
}

async function destroyOwnClones(snapshot: string, run: string): Promise<void> {
  for (const clone of await clonesOf(snapshot)) {
    if ((await ownRun(clone)) !== run) continue;
    // With the snapshots that some tool made of it since: of a clone of ours they hold nothing of anybody's.
    await destroy(
      clone,
      ['-r'],
      async () => (await ownRun(clone)) === run,
      async () =>
        `See who uses it: zfs list -t all -r ${shellWord(clone)}, and fuser -vm on its device; end that`,
    );
  }
}

async function whatNeeds(snapshot: string): Promise<string> {
  const clones = await clonesOf(snapshot);
  const tags = await holdTags(snapshot);
  if (clones.length > 0) return `Destroy or promote what was cloned of it by others: ${clones.join(', ')}`;
  if (tags.length > 0)
    return `It is held by others (${tags.join(', ')}): zfs release TAG ${shellWord(snapshot)}`;
  return `See who has it mounted, also in other mount namespaces: grep ${shellWord(snapshot)} /proc/*/mountinfo; unmount it`;
}

async function releaseHold(snapshot: string): Promise<void> {
  if (!(await holdTags(snapshot)).includes(HOLD_TAG)) return;
  const released = await runZfs(['zfs', 'release', HOLD_TAG, snapshot]);
  if (released.exitCode === 0 || !(await holdTags(snapshot)).includes(HOLD_TAG)) return;
  throw cannotTell(
    `The hold of ${snapshot} could not be released`,
    describeZfsFailure('zfs', released),
    `Try by hand: zfs release ${HOLD_TAG} ${shellWord(snapshot)}`,
  );
}

/** Destroys what fsbackup cloned of a snapshot of its own, and holds that: it stays. Idempotent. */
export async function keepZfsSnapshot(wanted: ZfsSnapshotName): Promise<void> {
  const snapshot = await findZfsSnapshot(wanted);
  if (snapshot === undefined) return;
  await destroyOwnClones(snapshot, wanted.run);
  await holdSnapshot(snapshot);
}

/**
 * Destroys our snapshot with what fsbackup made of it: the clone, the hold, the snapshot. What bears no mark of ours
 * is left alone: a clone or a hold of somebody else's keeps the snapshot, and is named. Idempotent. Rejects with
 * `cleanupIncomplete`.
 */
export async function removeZfsSnapshot(wanted: ZfsSnapshotName): Promise<void> {
  await requireWorkingPool(wanted.dataset);
  const snapshot = await findZfsSnapshot(wanted);
  if (snapshot === undefined) return;
  await destroyOwnClones(snapshot, wanted.run);
  // Before the destruction may fail: what others keep, they keep without us.
  await releaseHold(snapshot);
  await destroy(
    snapshot,
    [],
    async () => (await ownRun(snapshot)) === wanted.run,
    () => whatNeeds(snapshot),
  );
}
