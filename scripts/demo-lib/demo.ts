import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { exitCode } from '../../src/exit-codes.js';
import { describeFailure, runCommand } from '../../src/system/run-command.js';
import { startLogWriter, type LogWriter } from '../../test/support/log-writer.js';
import { checkRecords, parseRecords, type FrozenWindow } from '../../test/support/records.js';
import type { ThrowawayDisks } from '../../test/support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../../test/support/tree.js';
import { fillWithFiles } from './fill.js';
import { frozenWindowOf, renderTimeline } from './timeline.js';

const RUN_JS = path.resolve(import.meta.dirname, '../../bin/run.js');
/** Before the job starts, and again after it ended: so that the snapshot lies in the middle of the writing. */
const RECORDS_AROUND = 100;
/** What the writer writes; it changes after the snapshot, so its records are checked instead of its bytes. */
const LOG = 'log/records';

/** What the demo reads of the report. */
const reportSchema = z.object({
  startedAt: z.string(),
  warnings: z.array(z.string()),
  sources: z.array(
    z.object({ provider: z.string(), freezeMode: z.string(), frozenMs: z.number().nullable() }),
  ),
  steps: z.array(
    z.object({ step: z.string(), startMs: z.number(), durationMs: z.number(), frozen: z.boolean() }),
  ),
});

/** What the demo needs from outside. */
export interface DemoContext {
  /** Not disposed of here. */
  disks: ThrowawayDisks;
  /** Stops the demo at once; it then rejects. */
  signal: AbortSignal;
  say: (line: string) => void;
}

/** Runs the built command line with its state in the throwaway directory; returns its stdout. */
async function fsbackup({ disks, signal, say }: DemoContext, ...args: string[]): Promise<string> {
  say(`$ fsbackup ${args.join(' ')}`);
  const result = await runCommand([process.execPath, RUN_JS, ...args], {
    signal,
    env: {
      FSBACKUP_RUN_DIR: path.join(disks.directory, 'run'),
      FSBACKUP_STATE_DIR: path.join(disks.directory, 'state'),
      NO_COLOR: '1',
    },
  });
  if (result.exitCode !== exitCode('ok')) {
    throw new Error(
      `${describeFailure(`fsbackup ${args[0] ?? ''}`, result)}\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout;
}

/** The records must be those of one instant inside the frozen window. */
async function checkLog(
  restored: string,
  writer: LogWriter,
  window: FrozenWindow,
  say: DemoContext['say'],
): Promise<string[]> {
  const text = await readFile(path.join(restored, LOG), 'utf8');
  const before = writer.acknowledgements.filter(
    ({ acknowledgedMs }) => acknowledgedMs < window.startMs,
  ).length;
  say(
    `records: ${writer.acknowledgements.length} written, ${before} of them acknowledged before the freeze; ` +
      `${parseRecords(text).records.length} restored`,
  );
  return checkRecords(text, writer.acknowledgements, window);
}

/**
 * Backs a throwaway filesystem up while something writes to it, restores it and compares. Resolves to what was wrong,
 * a line each: nothing, when all was as it should be.
 */
export async function runDemo(context: DemoContext): Promise<string[]> {
  const { disks, signal, say } = context;
  const outer = await disks.filesystem({ fstype: 'xfs', name: 'outer' });
  const inner = await disks.filesystem({ fstype: 'ext4', name: 'demo', on: outer });
  say(`a throwaway disk: ext4 in an image file on XFS, mounted at ${inner.mountpoint}`);
  await fillWithFiles(inner.mountpoint);
  await mkdir(path.join(inner.mountpoint, path.dirname(LOG)));
  const skipLog = (name: string): boolean => name === path.dirname(LOG);
  const expected = await describeTree(inner.mountpoint, skipLog);

  const target = path.join(disks.directory, 'backups');
  const destination = path.join(disks.directory, 'restored');
  await Promise.all([target, destination].map((directory) => mkdir(directory, { mode: 0o700 })));
  signal.throwIfAborted();
  const writer = startLogWriter(path.join(inner.mountpoint, LOG));
  let report;
  try {
    await writer.acknowledged(RECORDS_AROUND);
    say(`a writer on it: ${writer.acknowledgements.length} records so far, each fsynced, and going on`);
    const from = ['--source', inner.mountpoint, '--to', target];
    report = reportSchema.parse(
      JSON.parse(await fsbackup(context, 'run', '--job', 'demo', ...from, '--json')),
    );
    await writer.acknowledged(writer.acknowledgements.length + RECORDS_AROUND);
  } finally {
    await writer.stop();
  }
  for (const line of renderTimeline(report.steps)) say(line);
  for (const warning of report.warnings) say(`warning: ${warning}`);
  for (const source of report.sources) {
    say(`${source.provider} snapshot, mode ${source.freezeMode}: frozen for ${source.frozenMs ?? 0} ms`);
  }

  await fsbackup(context, 'restore', 'demo', '--from', target, '--to', destination);
  // A backup holds its sources under the paths that they have on the live system.
  const restored = path.join(destination, inner.mountpoint);
  const window = frozenWindowOf(report.startedAt, report.steps);
  const actual = await describeTree(restored, skipLog);
  say(`files: ${expected.size} on the disk, ${actual.size} restored`);
  const { mountpoints, loopDevices } = await disks.leftovers();
  return [
    ...(window === undefined
      ? ['the report shows no frozen window']
      : await checkLog(restored, writer, window, say)),
    ...differencesOf(expected, actual),
    ...[...mountpoints, ...loopDevices].map((held) => `${held} was left behind by fsbackup`),
  ];
}
