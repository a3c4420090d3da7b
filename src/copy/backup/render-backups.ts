import { asLines, withoutControls } from '../../report/controls.js';
import { formatBytes, formatFiles } from '../../report/format.js';
import { describeTaken } from '../../report/instants.js';
import type { Backup, UnreadableJob } from './backup-list.js';
import type { AbsentTarget } from '../target/configured-targets.js';
import { hostOf, isOfAnother } from './host-backups.js';
import { sizeOf, type Manifest } from './manifest.js';
import type { InterruptedBackup } from './interrupted-backup.js';
import type { MountPlaces } from '../mount/mount-records.js';
import { renderVerified } from '../verify/render-verify.js';
import type { RestoreReport } from '../restore/restore-backup.js';
import { targetName, targetOf } from '../../backup-target.js';
import { thisHost } from '../../system/this-host.js';
import type { Verifications, VerifyRecord } from '../verify/verify-history.js';

/** One backup in `backups list --json`: stable. */
export interface ListedBackup {
  target: string;
  job: string;
  backupId: string;
  state: Backup['state'];
  /** Null where there is no manifest to tell; `files` and `bytes` also where the repository does not. */
  engine: string | null;
  completedAt: string | null;
  consistency: string | null;
  files: number | null;
  bytes: number | null;
  sources: string[] | null;
  /** The host that made it, by its name then; null where nobody knows. */
  host: string | null;
  /** How many files could not be read when it was made. */
  unreadable: number | null;
  /** Why a damaged one is that. */
  problem: string | null;
  /** By the last failure on this host that nothing has cleared since, else by the last verification. */
  verified: Pick<VerifyRecord, 'mode' | 'outcome' | 'finishedAt'> | null;
  /** Where it is mounted now. */
  mounted: string[];
  /** It is in a repository that was not there or was not asked: this is what the catalogue of this host remembers. */
  remembered: boolean;
}

/** What is known of backups beside what lies in their target. */
export interface KnownOfBackups {
  verifications: Verifications;
  mountPlaces: MountPlaces;
  /** The targets that are not there, or could not be asked, by name. */
  absent: ReadonlyMap<string, AbsentTarget>;
  /** Repositories that were not asked, since this host has a catalogue of them. */
  catalogued: ReadonlySet<string>;
}

/** Whether only the catalogue of this host tells of a backup, its repository being away. */
function isOfAbsent(backup: Backup, { absent }: Pick<KnownOfBackups, 'absent'>): boolean {
  return backup.repository !== undefined && absent.has(targetName(targetOf(backup)));
}

/** A verification for `--json`. */
export function verifiedOf(record: VerifyRecord | undefined): ListedBackup['verified'] {
  if (record === undefined) return null;
  return { mode: record.mode, outcome: record.outcome, finishedAt: record.finishedAt };
}

/** A backup for `--json`, without the run's report. */
export function listedBackup(backup: Backup, known: KnownOfBackups): ListedBackup {
  const { verifications, mountPlaces, catalogued } = known;
  const target = targetName(targetOf(backup));
  const manifest = backup.state === 'complete' ? backup.manifest : undefined;
  const size = manifest === undefined ? undefined : sizeOf(manifest);
  return {
    target,
    job: backup.job,
    backupId: backup.backupId,
    state: backup.state,
    engine: manifest?.engine ?? null,
    completedAt: manifest?.completedAt ?? null,
    consistency: manifest?.report.consistency ?? null,
    files: size?.files ?? null,
    bytes: size?.bytes ?? null,
    sources: manifest?.sources ?? null,
    host: (manifest && hostOf(manifest)?.name) ?? null,
    unreadable: manifest?.unreadable.length ?? null,
    problem: backup.state === 'damaged' ? backup.problem : null,
    verified: verifiedOf(verifications.of(backup)),
    mounted: mountPlaces(backup),
    remembered: isOfAbsent(backup, known) || (backup.repository !== undefined && catalogued.has(target)),
  };
}

function columns(rows: readonly (readonly string[])[]): string[] {
  // Before their widths are taken: what is written out is longer.
  const printed = rows.map((row) => row.map(withoutControls));
  const widths = (printed[0] ?? []).map((_, index) =>
    Math.max(...printed.map((row) => row[index]?.length ?? 0)),
  );
  return printed.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function listRow(backup: Backup, known: KnownOfBackups): string[] {
  const name = `${backup.job}@${backup.backupId}`;
  const remembered = isOfAbsent(backup, known) ? 'remembered as ' : '';
  if (backup.state !== 'complete') return [name, '', '', '', '', `${remembered}${backup.state}`, '', ''];
  const { manifest } = backup;
  const size = sizeOf(manifest);
  return [
    name,
    manifest.engine,
    size === undefined ? '' : formatBytes(size.bytes),
    size === undefined ? '' : formatFiles(size.files),
    manifest.report.consistency,
    `${remembered}complete${manifest.unreadable.length === 0 ? '' : ', partial'}`,
    renderVerified(known.verifications.of(backup)),
    hostOf(manifest)?.name ?? '',
  ];
}

function renderInterrupted({ job, backupId, directory }: InterruptedBackup): string {
  return `${job}@${backupId} was broken off, and is kept for the next run of ${job} to go on from, or until it is removed: ${directory}`;
}

/** What a listing tells beside the backups, by target. */
export interface BesideBackups {
  interrupted: ReadonlyMap<string, readonly InterruptedBackup[]>;
  unreadable: readonly UnreadableJob[];
}

/**
 * The backups of some targets, a table for each, and what was broken off there. Which host made each is told where there is
 * one of another than `self`.
 */
export function renderBackupList(
  byTarget: ReadonlyMap<string, readonly Backup[]>,
  known: KnownOfBackups,
  { interrupted, unreadable }: BesideBackups,
  self = thisHost(),
): string {
  const { absent, mountPlaces, catalogued } = known;
  const sections = [...byTarget].map(([target, backups]) => {
    const brokenOff = (interrupted.get(target) ?? []).map(renderInterrupted);
    const missing = absent.get(target);
    const notListed = [
      ...(missing === undefined
        ? []
        : [`${missing.unasked === true ? 'NOT ASKED' : 'NOT THERE'}: ${missing.message}`, missing.hint]),
      ...unreadable
        .filter((one) => one.target === target)
        .map(({ job, message }) => `UNREADABLE: the backups of ${job} cannot be listed: ${message}`),
    ];
    if (backups.length === 0) {
      return asLines([target, ...(notListed.length === 0 ? ['no backups'] : notListed), ...brokenOff]);
    }
    const head = ['backup', 'engine', 'size', 'files', 'consistency', 'state', 'verified', 'host'];
    const isShared = backups.some((one) => one.state === 'complete' && isOfAnother(one.manifest, self));
    const rows = [head, ...backups.map((backup) => listRow(backup, known))];
    const problems = backups.flatMap((backup) =>
      backup.state === 'damaged' ? [`${backup.job}@${backup.backupId}: ${backup.problem}`] : [],
    );
    return asLines([
      target,
      ...notListed,
      ...(catalogued.has(target)
        ? ['as the catalogue of this host has it; the repository is asked when it is named with --from']
        : []),
      ...columns(isShared ? rows : rows.map((row) => row.slice(0, -1))),
      ...problems,
      ...backups.flatMap((backup) =>
        mountPlaces(backup).map((place) => `${backup.job}@${backup.backupId} is mounted at ${place}`),
      ),
      ...brokenOff,
    ]);
  });
  return sections.join('\n\n');
}

function describeDigests(digests: Manifest['digests']): string {
  if (digests === undefined) return 'none: a full verify can only read it';
  return digests.unknown === 0
    ? digests.algorithm
    : `${digests.algorithm}, none of ${formatFiles(digests.unknown)}`;
}

/** One complete backup: what its manifest says. */
export function renderBackup(
  backup: Extract<Backup, { state: 'complete' }>,
  directory: string,
  verified: VerifyRecord | undefined,
): string {
  const { manifest } = backup;
  const { report, found } = manifest;
  const host = hostOf(manifest);
  const size = sizeOf(manifest);
  const taken = describeTaken(report.sources);
  const tools = Object.entries(manifest.tools).map(([tool, version]) => `${tool} ${version}`);
  const frozen = report.sources
    .flatMap(({ mountpoint, frozenMs }) =>
      frozenMs === null ? [] : [`${mountpoint} ${frozenMs.toFixed(1)} ms`],
    )
    .join(', ');
  const rows = [
    ['backup', `${backup.job}@${backup.backupId}`],
    ['in', directory],
    ...(taken === undefined ? [] : [['data of', taken]]),
    ['completed', manifest.completedAt],
    ['consistency', report.consistency],
    ['frozen', found !== undefined ? 'not known' : frozen === '' ? 'not' : frozen],
    ...(found === undefined && host === undefined ? [] : [['made on', host?.name ?? 'not known']]),
    ['sources', manifest.sources.join(', ')],
    ['size', size === undefined ? 'not known' : `${formatBytes(size.bytes)} in ${formatFiles(size.files)}`],
    ['engine', `${manifest.engine} (${[`fsbackup ${manifest.fsbackupVersion}`, ...tools].join(', ')})`],
    ['digests', describeDigests(manifest.digests)],
    ['verified', verified === undefined ? 'never on this host' : renderVerified(verified)],
    ...report.warnings.map((warning) => ['warning', warning]),
    ...manifest.unreadable.map((lost) => ['not in it', lost]),
  ];
  return asLines(columns(rows));
}

/** What a restore did, and what it could not. */
export function renderRestore(report: RestoreReport): string {
  const what = `${formatFiles(report.files)}, ${formatBytes(report.bytes)}`;
  const where = report.inPlace ? 'where they were' : report.destination;
  const from = `${report.job}@${report.backupId}`;
  const head = report.outcome === 'partial' ? 'Restored in part:' : 'Restored';
  return asLines([
    `${head} ${what} of ${from} to ${where}`,
    `From ${report.target} by ${report.engine}, completed ${report.completedAt}, ${report.snapshotStartedAt === null ? '' : `data of ${report.snapshotStartedAt}, `}consistency ${report.consistency}`,
    ...(report.matched === null
      ? []
      : [
          report.matched === 1
            ? 'one entry of the backup matched the patterns'
            : `${report.matched} entries of the backup matched the patterns`,
        ]),
    ...report.notRestored.map((lost) => `not restored: ${lost}`),
    ...report.notInBackup.map((lost) => `not in the backup, it could not be read then: ${lost}`),
    ...(report.warnings ?? []).map((warning) => `warning: ${warning}`),
    ...(report.doubt === undefined ? [] : [`the backup may be bad: ${report.doubt}`]),
    ...(report.backupWarnings ?? []).map((warning) => `the backup was made with a warning: ${warning}`),
  ]);
}
