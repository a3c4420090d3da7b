import { asLines } from '../report/controls.js';
import type { HeldStatus, LeftStatus, RunningStatus } from './held-status.js';

function runningLine({ job, runId, pid, command, since, holds }: RunningStatus): string {
  const held = holds.length === 0 ? '' : `; holds ${holds.map(({ what }) => what).join(', ')}`;
  return `  ${job}: run ${runId} since ${since}, pid ${pid}${command === null ? '' : ` (${command})`}${held}`;
}

function leftLine({ kind, what, job, runId, since }: LeftStatus): string {
  if (kind === 'unreadable') return `  cannot be read: ${what}`;
  const atRest = kind === 'quiesce' ? ', WHICH MAY BE AT REST STILL' : '';
  return `  ${what} of job ${job ?? '?'}, run ${runId ?? '?'}, since ${since ?? '?'}${atRest}`;
}

/** The part of `status` for people; empty where nothing is held, and that is known. */
export function renderHeld({ running, leftBehind }: HeldStatus, unread: readonly string[] = []): string {
  if (unread.includes('leftBehind')) return 'Running, and left behind: NOT KNOWN, see the errors';
  const lines: string[] = [];
  if (running.length > 0) lines.push('Running:', ...running.map(runningLine));
  if (leftBehind.length > 0) {
    lines.push('LEFT BEHIND by who was killed or could not release it: run "fsbackup recover"');
    lines.push(...leftBehind.map(leftLine));
  }
  return lines.length === 0 ? '' : asLines(lines);
}
