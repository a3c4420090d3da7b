import { setTimeout as sleep } from 'node:timers/promises';
import { OWNER_VARIABLE, ownerMark, type ProcessIdentity } from './process-identity.js';
import { listPids, readEnvironment, readProcessState, signalAll } from './process-table.js';

/** How long a program may take to end by itself, then after SIGTERM, then after SIGKILL. */
export interface EndingTimes {
  byItselfMs: number;
  afterTermMs: number;
  afterKillMs: number;
}

/** Most end in less than the first, and what they did can be undone, while one that is cut short may leave half of it. */
const TIMES: EndingTimes = { byItselfMs: 20_000, afterTermMs: 3000, afterKillMs: 5000 };
const POLL_MS = 50;

export interface EndingOptions {
  times?: EndingTimes;
  /** When aborted, it is no longer waited for that programs end by themselves. */
  signal?: AbortSignal;
}

/** What programs are marked with: values of variables of their environment. */
export interface Marks {
  /** The variable, or what several of them begin with. */
  variable: string;
  values: readonly string[];
}

/** A program that bears marks, or one that it has started. */
export interface MarkedProgram {
  pid: number;
  name: string;
  /** The values that it bears, of those that were asked for. */
  marks: readonly string[];
}

/** What became of the programs. */
export interface EndedPrograms {
  /** Whether any had to be killed: it may have left something half-done. */
  killed: boolean;
  /** Still there: a process in D state takes no signal. */
  stuck: MarkedProgram[];
}

async function marksOf(pid: number, owner: string, { variable, values }: Marks): Promise<string[]> {
  const environment = await readEnvironment(pid);
  if (!environment.includes(`${OWNER_VARIABLE}=${owner}`)) return [];
  return environment.flatMap((line) => {
    const value = line.slice(line.indexOf('=') + 1);
    return line.startsWith(variable) && values.includes(value) ? [value] : [];
  });
}

/** By session: the marks of its programs. */
type Sessions = Map<number, readonly string[]>;

/**
 * The programs that bear the marks, with all that is in their sessions: each has one of its own, and what it started
 * without its environment (sudo) is in that too, also when it has ended itself. So `sessions` are remembered, until
 * nobody is in one: from then on its number may be another's.
 */
async function findPrograms(owner: string, wanted: Marks, sessions: Sessions): Promise<MarkedProgram[]> {
  const living: { pid: number; name: string; session: number }[] = [];
  for (const pid of await listPids()) {
    const state = await readProcessState(pid);
    if (state === undefined) continue;
    const marks = await marksOf(pid, owner, wanted);
    if (marks.length > 0) sessions.set(state.session, marks);
    living.push({ pid, ...state });
  }
  for (const session of sessions.keys()) {
    if (!living.some((one) => one.session === session)) sessions.delete(session);
  }
  return living.flatMap(({ pid, name, session }) => {
    const marks = sessions.get(session);
    return marks === undefined ? [] : [{ pid, name, marks }];
  });
}

/**
 * Ends the programs with these marks that a dead process left: by its own mark in their environment too, so never
 * another's. They get time to end by themselves, then SIGTERM, then SIGKILL. Resolves at once where there are
 * none; else when none is left, or what is left does not end. Rejects with the signal's reason when that is aborted before any was
 * told to end.
 */
export async function endMarkedPrograms(
  owner: Pick<ProcessIdentity, 'pid' | 'startTime'>,
  marks: Marks,
  { times = TIMES, signal: interrupt }: EndingOptions = {},
): Promise<EndedPrograms> {
  const mark = ownerMark(owner);
  const sessions: Sessions = new Map();
  // Twice before it says none: one that was started since the list of all was read is not in that, and its parent may be gone.
  const find = async (): Promise<MarkedProgram[]> => {
    const found = await findPrograms(mark, marks, sessions);
    if (found.length > 0) return found;
    await sleep(POLL_MS);
    return await findPrograms(mark, marks, sessions);
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
      if (signal === undefined) interrupt?.throwIfAborted();
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
