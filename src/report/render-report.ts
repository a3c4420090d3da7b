import type { ChalkInstance } from 'chalk';
import { withoutControls } from './controls.js';
import { describeLimit, formatBytes, formatFiles, formatMs } from './format.js';
import { describeInstants, describeMounts } from './instants.js';
import type { CopyReport, FailedCopyReport, RunReport, SourceReport, StepReport } from './run-report.js';
import type { Symbols } from './symbols.js';

/** How a report is dressed. */
export interface Style {
  chalk: ChalkInstance;
  symbols: Symbols;
}

const OUTCOMES: Readonly<Record<RunReport['outcome'], string>> = {
  success: 'backed up',
  warnings: 'backed up, with warnings',
  failed: 'failed',
  interrupted: 'interrupted; everything was released',
};

const CONSISTENCY: Readonly<Record<RunReport['consistency'], string>> = {
  application: 'quiesced',
  filesystem: 'after a freeze or its equal',
  crash: 'as after a power cut',
  none: 'a live tree, copied while it changed',
};

/** That all is at one instant is said only where it was so. */
function consistencyLines({ consistency, oneInstant, sources }: RunReport): string[] {
  const instant = oneInstant === true ? 'at one instant, ' : '';
  const line = `  consistency: ${consistency} (${instant}${CONSISTENCY[consistency]})`;
  if (oneInstant !== false || sources.length < 2) return [line];
  return [line, `  not at one instant: ${describeInstants(sources)}`];
}

function heading(report: RunReport, { chalk, symbols }: Style): string {
  const text = `${report.job}: ${OUTCOMES[report.outcome]}`;
  if (report.outcome === 'success') return chalk.green(`${symbols.done} ${text}`);
  if (report.outcome === 'warnings') return chalk.yellow(`${symbols.warning} ${text}`);
  return chalk.red(`${symbols.failed} ${text} (exit ${report.exitCode})`);
}

function frozenTime({ frozenMs, freezeCallMs, snapshotMs, thawMs }: SourceReport): string {
  if (frozenMs === null)
    return snapshotMs === null ? 'not frozen' : `not frozen, snapshot ${formatMs(snapshotMs)}`;
  const parts: [string, number | null][] = [
    ['freeze', freezeCallMs],
    ['snapshot', snapshotMs],
    ['thaw', thawMs],
  ];
  const known = parts.flatMap(([name, ms]) => (ms === null ? [] : [`${name} ${formatMs(ms)}`]));
  return `frozen ${formatMs(frozenMs)}${known.length === 0 ? '' : ` (${known.join(', ')})`}`;
}

/** A run that ended before its turn came has planned it, and no more. */
function wasSnapshotted({ provider, frozenMs, snapshotMs }: SourceReport): boolean {
  return provider === 'none' || frozenMs !== null || snapshotMs !== null;
}

function sourceLines(source: SourceReport): string[] {
  if (!wasSnapshotted(source)) {
    return [
      `  ${describeMounts(source)} (${source.fstype} on ${source.device})`,
      `    not frozen, and no snapshot taken (planned: by ${source.provider}, freeze ${source.freezeMode})`,
    ];
  }
  const attempts = source.attempts > 1 ? `, ${source.attempts} attempts` : '';
  return [
    `  ${describeMounts(source)} (${source.fstype} on ${source.device})`,
    `    ${source.provider === 'none' ? 'no snapshot' : `snapshot by ${source.provider}`}, freeze ${source.freezeMode}: ${source.freezeModeReason}`,
    `    ${frozenTime(source)}${attempts}; consistency ${source.consistency}`,
  ];
}

function copyLine(copy: CopyReport, symbols: Symbols): string {
  const amount = `${formatBytes(copy.bytes)} in ${formatFiles(copy.files)}`;
  return `  ${symbols.to} ${copy.target} by ${copy.engine}: ${copy.backupId}, ${amount}, ${formatMs(copy.durationMs)}${describeLimit(copy)}`;
}

/**
 * What went wrong and what to do, last, where a reader ends: each target that failed, what else did, then the error that
 * counts. What to do stands once, below that error where it is a target's.
 */
function errorLines(
  { error, failedCopies = [], otherErrors = [] }: RunReport,
  { chalk, symbols }: Style,
): string[] {
  const failedLines = (failed: FailedCopyReport): string[] => {
    const what = withoutControls(`${failed.target} by ${failed.engine}: ${failed.error.message}`);
    const isTold = failed.error.message === error?.message;
    return [
      chalk.red(`  ${symbols.failed} ${what}`),
      ...(isTold ? [] : [`    ${withoutControls(failed.error.hint)}`]),
    ];
  };
  return [
    ...failedCopies.flatMap(failedLines),
    ...otherErrors.flatMap(({ message, hint }) => [
      chalk.red(`  ${symbols.failed} ${withoutControls(message)}`),
      `    ${withoutControls(hint)}`,
    ]),
    ...(error === undefined
      ? []
      : [chalk.red(`  Error: ${withoutControls(error.message)}`), `  ${withoutControls(error.hint)}`]),
  ];
}

function timelineLines(steps: readonly StepReport[], { chalk, symbols }: Style): string[] {
  if (steps.length === 0) return [];
  const rows = steps.toSorted((a, b) => a.startMs - b.startMs);
  const width = Math.max(
    0,
    ...rows.flatMap((row) => [row.startMs, row.durationMs].map((ms) => formatMs(ms).length)),
  );
  const lines = rows.map((row) => {
    const times = [row.startMs, row.durationMs].map((ms) => formatMs(ms).padStart(width)).join('  ');
    const line = `${times}  ${withoutControls(row.step)}`;
    return row.frozen ? chalk.cyan(`  ${symbols.frozen} ${line}  frozen`) : `    ${line}`;
  });
  return [chalk.dim('  timeline: start, duration, step'), ...lines];
}

/**
 * A run for people: outcome, each source's mode, why, frozen time and consistency, the copies, the timeline with the
 * frozen window marked unless that is left out, warnings, and what went wrong with what to do. Ends with a newline.
 */
export function renderReport(report: RunReport, style: Style, { timeline = true } = {}): string {
  const { chalk, symbols } = style;
  const lines = [
    heading(report, style),
    ...[
      ...report.sources.flatMap((source) => sourceLines(source)),
      ...report.copies.map((copy) => copyLine(copy, symbols)),
      ...(report.copies.length === 0 ? [] : consistencyLines(report)),
    ].map(withoutControls),
    ...(timeline ? timelineLines(report.steps, style) : []),
    ...report.warnings.map((warning) => chalk.yellow(`  ${symbols.warning} ${withoutControls(warning)}`)),
    ...errorLines(report, style),
  ];
  return `${lines.join('\n')}\n`;
}
