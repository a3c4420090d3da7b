import type { RunReport } from '../../src/report/run-report.js';

/** A report of a run that went well: a frozen ext4, one rsync copy. */
export function successfulReport(changes: Partial<RunReport> = {}): RunReport {
  return {
    version: 1,
    job: 'srv',
    runId: '20260102T030405Z-1a2b3c',
    outcome: 'success',
    exitCode: 0,
    consistency: 'filesystem',
    oneInstant: true,
    startedAt: '2026-01-02T03:04:05.000Z',
    finishedAt: '2026-01-02T03:04:08.000Z',
    freeze: { timeoutSeconds: 10, heartbeatSeconds: 5, maxHoldSeconds: 60 },
    sources: [
      {
        mountpoint: '/srv',
        device: '/dev/loop0',
        fstype: 'ext4',
        provider: 'reflink',
        freezeMode: 'explicit',
        freezeModeReason: 'the image is cloned while its filesystem is frozen',
        frozenMs: 44.6,
        freezeCallMs: 39.2,
        snapshotMs: 3.14,
        snapshotStartedAt: '2026-01-02T03:04:05.249Z',
        snapshotFinishedAt: '2026-01-02T03:04:05.254Z',
        thawMs: 0.21,
        snapshot: 'fsbackup-srv-20260102T030405Z-1a2b3c-0',
        instant: 1,
        consistency: 'filesystem',
        attempts: 1,
      },
    ],
    copies: [
      {
        target: '/backup',
        engine: 'rsync',
        backupId: '20260102T030405Z-1a2b3c',
        bytes: 1_500_000,
        files: 12,
        durationMs: 2500,
      },
    ],
    steps: [
      { step: 'sync', startMs: 10, durationMs: 200, frozen: false },
      { step: 'freeze', startMs: 210, durationMs: 39.2, frozen: true },
      { step: 'snapshot', startMs: 250, durationMs: 3.14, frozen: true },
      { step: 'thaw', startMs: 254, durationMs: 0.21, frozen: true },
      { step: 'copy', startMs: 300, durationMs: 2500, frozen: false },
    ],
    warnings: [],
    ...changes,
  };
}

/** A report of a run whose freeze was lost. */
export function failedReport(): RunReport {
  return successfulReport({
    outcome: 'failed',
    exitCode: 21,
    consistency: 'none',
    copies: [],
    warnings: ['/srv holds a submount that is not copied: /srv/data'],
    error: {
      code: 'freezeLost',
      exitCode: 21,
      message: 'The freeze of /srv was lost: timeout',
      hint: 'Raise the timeout.',
    },
  });
}
