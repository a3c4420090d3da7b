import * as z from 'zod';
import { ENGINE_NAMES } from '../engine-names.js';
import { EXIT_CODES, type ExitName } from '../exit-codes.js';
import type { RunReport } from './run-report.js';

const ms = z.number().nullable();

const source = z.object({
  mountpoint: z.string(),
  mountedAt: z.string().exactOptional(),
  otherMountpoints: z.array(z.string()).exactOptional(),
  device: z.string(),
  fstype: z.string(),
  provider: z.enum(['reflink', 'btrfs', 'zfs', 'lvm', 'mirror', 'command', 'none']),
  freezeMode: z.enum(['explicit', 'native', 'atomic', 'none']),
  freezeModeReason: z.string(),
  frozenMs: ms,
  freezeCallMs: ms,
  snapshotMs: ms,
  // Manifests of earlier versions lack the two.
  snapshotStartedAt: z.string().nullable().default(null),
  snapshotFinishedAt: z.string().nullable().default(null),
  thawMs: ms,
  snapshot: z.string().nullable(),
  instant: z.number().nullable().default(null),
  consistency: z.enum(['application', 'filesystem', 'crash', 'none']),
  attempts: z.number(),
});

const copy = z.object({
  target: z.string(),
  engine: z.enum(ENGINE_NAMES),
  backupId: z.string(),
  bytes: z.number(),
  files: z.number(),
  durationMs: z.number(),
  limitBytesPerSecond: z.number().exactOptional(),
});

const step = z.object({
  step: z.string(),
  startMs: z.number(),
  durationMs: z.number(),
  frozen: z.boolean(),
});

const retention = z.object({
  target: z.string(),
  kept: z.number(),
  removed: z.array(z.string()),
  failed: z.array(z.string()),
});

function isExitName(name: string): name is ExitName {
  return name in EXIT_CODES;
}

const error = z.object({
  code: z.string().refine(isExitName, { error: 'not the name of an exit code' }),
  exitCode: z.number(),
  message: z.string(),
  hint: z.string(),
});

const failedCopy = z.object({ target: z.string(), engine: z.enum(ENGINE_NAMES), error });

/** A run's report as it is read back from a file. Keys that a later version added are dropped. */
export const runReportSchema: z.ZodType<RunReport> = z.object({
  version: z.literal(1),
  job: z.string(),
  runId: z.string(),
  outcome: z.enum(['success', 'warnings', 'failed', 'interrupted']),
  exitCode: z.number(),
  consistency: z.enum(['application', 'filesystem', 'crash', 'none']),
  oneInstant: z.boolean().nullable().default(null),
  startedAt: z.string(),
  finishedAt: z.string(),
  freeze: z.object({ timeoutSeconds: ms, heartbeatSeconds: ms, maxHoldSeconds: z.number() }),
  sources: z.array(source),
  copies: z.array(copy),
  failedCopies: z.array(failedCopy).exactOptional(),
  steps: z.array(step),
  retention: z.array(retention).exactOptional(),
  leftOut: z.array(z.string()).exactOptional(),
  warnings: z.array(z.string()),
  error: error.exactOptional(),
  otherErrors: z.array(error).exactOptional(),
});
