import { asLines } from '../report/controls.js';
import type { FreezeStatusReport, FrozenStatus } from './freeze-status.js';

/** What `status` knows of a past run. */
export interface RunStatus {
  job: string;
  outcome: string;
  exitCode: number;
  finishedAt: string;
  /** When each target last got a whole backup; null where that is not known. */
  lastWholeAt: string | null;
}

/** A snapshot that is kept between runs. */
export interface KeptStatus {
  job: string;
  target: string;
  backupId: string;
  snapshots: readonly { mountpoint: string; name: string }[];
}

function keptLines({ job, target, backupId, snapshots }: KeptStatus): string[] {
  return snapshots.map(
    ({ mountpoint, name }) => `  ${name} of ${mountpoint}: the base of ${job} in ${target} (${backupId})`,
  );
}

function frozenLine(frozen: FrozenStatus, nowMs: number): string {
  const { mountpoint, device, fstype, owner, watchdogPids } = frozen;
  const left =
    frozen.expiresAt === null ? undefined : Math.max(0, (Date.parse(frozen.expiresAt) - nowMs) / 1000);
  const rest = {
    alive: `thawed by itself in ${left?.toFixed(1) ?? '?'} s`,
    stopped:
      'its watchdog does not answer; the second thaws it at the deadline, unless it is stopped too, and `fsbackup thaw` does at once',
    dead: 'ITS WATCHDOGS ARE DEAD: run "fsbackup recover"',
  }[frozen.guards];
  return `  ${mountpoint} (${fstype} on ${device}) since ${frozen.since}: ${rest}; by pid ${owner.pid} (${owner.command}), watchdogs ${watchdogPids.join(' and ')}`;
}

function runLine({ job, outcome, exitCode, finishedAt, lastWholeAt }: RunStatus): string {
  const isWell = lastWholeAt === finishedAt;
  const since = `the last that gave every target a whole backup: ${lastWholeAt ?? 'NONE IS KNOWN'}`;
  return `  ${job}: ${outcome} (exit ${exitCode}) at ${finishedAt}${isWell ? '' : `; ${since}`}`;
}

/** The text that `status` shows to people. What is in `unread` could not be read: that is not said to be none. */
export function renderStatus(
  status: FreezeStatusReport & { runs: readonly RunStatus[]; bases: readonly KeptStatus[] },
  nowMs: number,
  unread: readonly string[] = [],
): string {
  const section = (
    [title, what]: readonly [string, keyof typeof status],
    lines: readonly string[],
    none: string,
  ): string[] => {
    if (lines.length > 0) return [`${title}:`, ...lines];
    return [`${title}: ${unread.includes(what) ? 'NOT KNOWN, see the errors' : none}`];
  };
  return asLines([
    ...section(
      ['Frozen', 'frozen'],
      status.frozen.map((frozen) => frozenLine(frozen, nowMs)),
      'nothing',
    ),
    ...section(
      ['Lost', 'lost'],
      status.lost.map((lost) => `  ${lost.mountpoint} at ${lost.at}: ${lost.reason}`),
      'nothing',
    ),
    ...section(['Last runs', 'runs'], status.runs.map(runLine), 'none'),
    ...section(['Kept for increments', 'bases'], status.bases.flatMap(keptLines), 'no snapshot'),
  ]);
}
