import { setTimeout as sleep } from 'node:timers/promises';
import { OWNER_VARIABLE, ownerMark, SNAPSHOT_VARIABLE, type ProcessIdentity } from './process-identity.js';
import { listPids, readEnvironment, readProcessState, signalAll } from './process-table.js';

/** How long a program may take to end by itself, then after SIGTERM, then after SIGKILL. */
export interface EndingTimes {
  byItselfMs: number;
  afterTermMs: number;
  afterKillMs: number;
}

/**
 * Most snapshots are made in less than the first, and one that is made can be removed, while a program that is cut short
 * may leave half of one.
 */
const TIMES: EndingTimes = { byItselfMs: 20_000, afterTermMs: 3000, afterKillMs: 5000 };
const POLL_MS = 50;

/** A program that makes snapshots, or one that it has started. */
export interface SnapshotProgram {
  pid: number;
  name: string;
  /** Those that it makes. */
  snapshots: readonly string[];
}

/** What became of the programs. */
export interface EndedPrograms {
  /** Whether any had to be killed: it may have left something half-done. */
  killed: boolean;
  /** Still there: a process in D state takes no signal. */
  stuck: SnapshotProgram[];
}

/** `FSBACKUP_SNAPSHOT_0=NAME` and so on: what a process makes by its environment. */
async function snapshotsOf(pid: number, owner: string): Promise<string[]> {
  const environment = await readEnvironment(pid);
  if (!environment.includes(`${OWNER_VARIABLE}=${owner}`)) return [];
  return environment.flatMap((line) => {
    const at = line.indexOf('=');
    return line.startsWith(SNAPSHOT_VARIABLE) ? [line.slice(at + 1)] : [];
  });
}

/** By session: which snapshots its programs make. */
type Sessions = Map<number, readonly string[]>;

/**
 * The programs that bear the marks, with all that is in their sessions: each has one of its own, and what it started
 * without its environment (sudo) is in that too, also when it has ended itself. So `sessions` are remembered, until
 * nobody is in one: from then on its number may be another's.
 */
async function findPrograms(
  owner: string,
  wanted: ReadonlySet<string>,
  sessions: Sessions,
): Promise<SnapshotProgram[]> {
  const living: { pid: number; name: string; session: number }[] = [];
  for (const pid of await listPids()) {
    const state = await readProcessState(pid);
    if (state === undefined) continue;
    const snapshots = (await snapshotsOf(pid, owner)).filter((name) => wanted.has(name));
    if (snapshots.length > 0) sessions.set(state.session, snapshots);
    living.push({ pid, ...state });
  }
  for (const session of sessions.keys()) {
    if (!living.some((one) => one.session === session)) sessions.delete(session);
  }
  return living.flatMap(({ pid, name, session }) => {
    const snapshots = sessions.get(session);
    return snapshots === undefined ? [] : [{ pid, name, snapshots }];
  });
}

/**
 * Ends the programs that a dead process left making snapshots of these names: by the marks in their environment, so
 * never another's. They get time to end by themselves, then SIGTERM, then SIGKILL. Resolves at once where there are
 * none; else when none is left, or what is left does not end.
 */
export async function endSnapshotPrograms(
  owner: Pick<ProcessIdentity, 'pid' | 'startTime'>,
  names: readonly string[],
  times: EndingTimes = TIMES,
): Promise<EndedPrograms> {
  const mark = ownerMark(owner);
  const wanted = new Set(names);
  const sessions: Sessions = new Map();
  // Twice before it says none: one that was started since the list of all was read is not in that, and its parent may be gone.
  const find = async (): Promise<SnapshotProgram[]> => {
    const found = await findPrograms(mark, wanted, sessions);
    if (found.length > 0) return found;
    await sleep(POLL_MS);
    return await findPrograms(mark, wanted, sessions);
  };
  let left = await find();
  let killed = false;
  for (const [signal, limitMs] of [
    [undefined, times.byItselfMs],
    ['SIGTERM', times.afterTermMs],
    ['SIGKILL', times.afterKillMs],
  ] as const) {
    if (left.length === 0) break;
    killed ||= signal !== undefined;
    const deadline = performance.now() + limitMs;
    const asked = new Set<number>();
    for (;;) {
      // Once each, so as not to disturb what a program does about it; and those that they start meanwhile.
      const fresh = left.map(({ pid }) => pid).filter((pid) => !asked.has(pid));
      if (signal !== undefined) signalAll(fresh, signal);
      for (const pid of fresh) asked.add(pid);
      if (left.length === 0 || performance.now() >= deadline) break;
      await sleep(POLL_MS);
      left = await find();
    }
  }
  return { killed, stuck: left };
}
