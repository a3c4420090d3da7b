import { asLines } from '../report/controls.js';
import type { RecoverReport } from './recover-report.js';

/** The text that `recover` shows to people. */
export function renderRecover(report: RecoverReport): string {
  const lines = [
    ...report.released.map(({ what, keptIn }) =>
      keptIn === undefined
        ? `released: ${what}`
        : `kept for the next run to go on from: ${what}, as ${keptIn}`,
    ),
    ...(report.forgotten ?? []).map(({ kind, what, left }) =>
      kind === 'quiesce'
        ? `forgotten: ${what}; should it be at rest after all: ${left}`
        : `forgotten: ${what}; should its storage come back, remove by hand: ${left}`,
    ),
    ...report.leftAlone.map(({ what, job }) => `left alone, job ${job ?? ''} is running: ${what}`),
    ...report.failed.map(({ what, message }) => `STILL HELD: ${what}: ${message}`),
    ...report.unreadable.map(({ file, reason }) => `cannot be read: ${file}: ${reason}`),
  ];
  if (lines.length === 0) return 'Nothing to recover.';
  if (report.failed.length > 0) lines.push('Mend what is in the way, then run `fsbackup recover` again.');
  if (report.unreadable.length > 0) {
    lines.push('Look into the files that cannot be read, release by hand what they name, then remove them.');
  }
  return asLines(lines);
}
