import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { DrillConfig } from '../../config/types.js';
import { FsbackupError, messageOf } from '../../errors.js';
import { exitCode, worstExitCode } from '../../exit-codes.js';
import type { Journal } from '../../journal/journal.js';
import { findCommand } from '../../system/find-command.js';
import { CHILD_PATH, describeFailure, runCommand } from '../../system/run-command.js';
import { digestsOf } from '../digests/backup-digests.js';
import { dataDirectory } from '../backup/backup-layout.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import { sizeOf, totalsOf } from '../backup/manifest.js';
import { noDifferences } from '../digests/digest-compare.js';
import { chooseDrillDirectory, makeDrillDirectory, removeDrill, roomForDrill } from './drill-directory.js';
import type { CopyEngine, CopyProgress, CopyResult, VerifyFindings } from '../engine.js';
import { storageAt } from '../target/target-storage.js';
import { reportOf, requireNotRemoved, type DrillFacts, type VerifyReport } from './verify-backup.js';

/** What a drill is asked for with. */
export interface DrillOptions {
  backup: CompleteBackup;
  engine: CopyEngine;
  settings: DrillConfig;
  runId: string;
  journal: Journal;
  /** Ends what our children left running in a directory. */
  endLeftovers: (directory: string) => Promise<void>;
  signal: AbortSignal;
  onProgress: (progress: CopyProgress) => void;
}

const PLACEHOLDER = '{directory}';

async function requireCommand({ command }: DrillConfig): Promise<void> {
  const [program] = command ?? [];
  if (program === undefined || program.includes(PLACEHOLDER)) return;
  if ('file' in (await findCommand(program, CHILD_PATH))) return;
  throw new FsbackupError('usage', `the command of the drill cannot be run: ${program} is not there`, {
    hint: 'Correct `command` of `drill` in the configuration, or install it.',
  });
}

async function check(
  { backup, engine, journal, signal, onProgress }: DrillOptions,
  { restored, scratch, result }: { restored: string; scratch: string; result: CopyResult },
): Promise<VerifyFindings> {
  const { manifest } = backup;
  const digests = await digestsOf(backup, { engine, signal });
  const problems = result.unreadable.map((lost) => `${lost} was not restored`);
  if (digests !== undefined && 'problem' in digests) problems.push(digests.problem);
  if (engine.checkRestored === undefined) {
    const size = sizeOf(manifest);
    if (size !== undefined && result.files !== size.files) {
      problems.push(`${result.files} files were restored, and its manifest says ${size.files}`);
    }
    return { ...noDifferences(), files: result.files, bytes: result.bytes, problems };
  }
  const findings = await engine.checkRestored({
    dataDirectory: dataDirectory(backup),
    restored,
    digests: digests !== undefined && 'file' in digests ? digests : undefined,
    notInBackup: manifest.unreadable,
    scratch,
    journal,
    signal,
    onProgress: (progress) => onProgress({ ...totalsOf(manifest), ...progress }),
  });
  return { ...findings, problems: [...problems, ...findings.problems] };
}

async function tryCommand(
  { settings: { command, timeoutMs }, signal }: DrillOptions,
  restored: string,
): Promise<{ command: string[] | null; problem: string | undefined }> {
  const [program, ...args] = (command ?? []).map((word) => word.replaceAll(PLACEHOLDER, restored));
  if (program === undefined) return { command: null, problem: undefined };
  const result = await runCommand([program, ...args], {
    cwd: restored,
    timeoutMs,
    signal,
    ignoresStdout: true,
  });
  signal.throwIfAborted();
  const problem =
    result.exitCode === 0
      ? undefined
      : `the command of the drill failed: ${describeFailure(program, result)}`;
  return { command: [program, ...args], problem };
}

async function drillIn(directory: string, options: DrillOptions): Promise<VerifyReport> {
  const { backup, engine, signal } = options;
  const startedAt = new Date().toISOString();
  const restored = path.join(directory, 'restored');
  const scratch = path.join(directory, 'work');
  await mkdir(restored, { mode: 0o700 });
  await mkdir(scratch, { mode: 0o700 });
  const { manifest } = backup;
  const result = await engine.restore({
    dataDirectory: dataDirectory(backup),
    sources: manifest.sources,
    destination: restored,
    isEmpty: true,
    notInBackup: manifest.unreadable,
    paths: [],
    journal: options.journal,
    signal,
    onProgress: (progress) => options.onProgress({ ...progress, ...totalsOf(manifest) }),
  });
  const findings = await check(options, { restored, scratch, result });
  const { command, problem } = await tryCommand(options, restored);
  const problems = [...findings.problems, ...(problem === undefined ? [] : [problem])];
  const facts: DrillFacts = {
    directory,
    restoredFiles: result.files,
    restoredBytes: result.bytes,
    command,
    leftBehind: null,
  };
  return { ...reportOf(backup, 'drill', startedAt, { ...findings, problems }), drill: facts };
}

/**
 * Restores a backup to a directory of its own, compares what came of it with the backup and its digests, runs the job's
 * command on it, and removes it, whatever came before: a failure, a signal. What outlives even that is in the journal.
 * What is wrong is in the report (exit 50), and also that the directory is still there (exit 60). Rejects when it could
 * not be tried: with `usage` for want of room or of the command, with `copyFailed` when the restore broke off, with the
 * signal's reason.
 */
export async function drillBackup(options: DrillOptions): Promise<VerifyReport> {
  const { backup, engine, settings, journal, signal } = options;
  await engine.preflight();
  await requireCommand(settings);
  const needed = await roomForDrill(backup, engine, signal);
  const { runId } = options;
  const directory = await chooseDrillDirectory(backup, settings.directory, { runId, needed });
  const storage = await storageAt(path.dirname(directory));
  const entry = await journal.record('drill', { directory, ...(storage === undefined ? {} : { storage }) });
  const clean = async (): Promise<void> => {
    await options.endLeftovers(directory);
    await removeDrill(directory, storage);
    await entry.remove();
  };
  let report: VerifyReport;
  try {
    await makeDrillDirectory(directory);
    report = await drillIn(directory, options);
    if (report.outcome === 'failed') await requireNotRemoved(backup);
  } catch (error) {
    await clean();
    signal.throwIfAborted();
    throw error;
  }
  try {
    await clean();
    return report;
  } catch (error) {
    const code = worstExitCode([report.exitCode, exitCode('cleanupIncomplete')]);
    const drill =
      report.drill === undefined ? {} : { drill: { ...report.drill, leftBehind: messageOf(error) } };
    return { ...report, exitCode: code, ...drill };
  }
}
