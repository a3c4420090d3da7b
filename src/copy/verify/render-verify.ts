import { asLines } from '../../report/controls.js';
import { formatBytes, formatFiles } from '../../report/format.js';
import type { PathSample } from '../digests/digest-compare.js';
import type { Unverified, VerifyEntry } from './unverified.js';
import type { DrillFacts, VerifyReport } from './verify-backup.js';
import type { VerifyRecord } from './verify-history.js';

function sampleLines(what: string, { count, paths }: PathSample): string[] {
  const more = count > paths.length ? [`${what}: ${count - paths.length} more`] : [];
  return [...paths.map((one) => `${what}: ${one}`), ...more];
}

/** Of an increment: that more was read than itself. */
function withNeeds({ needs = [] }: VerifyReport): string {
  if (needs.length === 0) return '';
  return `, with ${needs.length === 1 ? 'the backup' : `the ${needs.length} backups`} that it needs`;
}

function heading(report: VerifyReport): string {
  const { outcome, mode, job, backupId, target, files, bytes, withoutDigest } = report;
  const name = `${job}@${backupId} in ${target}`;
  const amount = files === null ? '' : ` (${formatFiles(files)}, ${formatBytes(bytes)}${withNeeds(report)})`;
  const what = mode === 'drill' ? 'restore drill' : `${mode} verify`;
  if (outcome === 'failed') return `${name}: FAILED, ${what}`;
  if (outcome === 'ok') return `${name}: ok, ${what}${amount}`;
  return `${name}: every byte could be read${amount}, but there is no digest of ${formatFiles(withoutDigest)} to compare with`;
}

function drillLines({ command, leftBehind }: DrillFacts): string[] {
  return [
    ...(command === null ? [] : [`ran: ${command.join(' ')}`]),
    ...(leftBehind === null ? [] : [`STILL THERE: ${leftBehind}`]),
  ];
}

function unverifiedLines({ job, backupId, target, error }: Unverified): string[] {
  const name = `${job}${backupId === null ? '' : `@${backupId}`}${target === null ? '' : ` in ${target}`}`;
  return [`${name}: NOT VERIFIED: ${error.message}`, error.hint];
}

/** What a verification found, or why there was none, for people. */
export function renderVerify(report: VerifyEntry): string {
  if ('error' in report) return asLines(unverifiedLines(report));
  return asLines([
    heading(report),
    ...report.problems,
    ...(report.drill === undefined ? [] : drillLines(report.drill)),
    ...sampleLines('changed', report.changed),
    ...sampleLines('missing', report.missing),
    ...sampleLines('not in the list', report.extra),
  ]);
}

/** One cell of a list: `full ok 2026-11-24`. */
export function renderVerified(record: VerifyRecord | undefined): string {
  return record === undefined ? '' : `${record.mode} ${record.outcome} ${record.finishedAt.slice(0, 10)}`;
}
