import { Chalk } from 'chalk';
import { expect, it } from 'vitest';
import { renderBackup, renderBackupList, renderRestore } from '../../../src/copy/backup/render-backups.js';
import { renderMounted, renderMounts } from '../../../src/copy/mount/render-mounts.js';
import { renderVerify } from '../../../src/copy/verify/render-verify.js';
import { renderPreview } from '../../../src/copy/restore/overwrite-preview.js';
import { verificationsFrom } from '../../../src/copy/verify/verify-history.js';
import { renderDoctor } from '../../../src/doctor/render-doctor.js';
import { problem } from '../../../src/doctor/finding.js';
import { renderStatus } from '../../../src/freeze/render-status.js';
import { renderRecover } from '../../../src/journal/render-recover.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import { renderPlan } from '../../../src/plan/render-plan.js';
import { PlainReporter } from '../../../src/report/plain-reporter.js';
import { renderReport } from '../../../src/report/render-report.js';
import { asJson } from '../../../src/report/controls.js';
import { chooseSymbols } from '../../../src/report/symbols.js';
import { renderPrune } from '../../../src/retention/render.js';
import { manifestFor } from '../../support/backups.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';
import { successfulReport } from '../../support/run-reports.js';

const style = { chalk: new Chalk({ level: 0 }), symbols: chooseSymbols({ LANG: 'C' }) };
const at = '2026-01-02T03:04:05.000Z';
const backupId = '20260102T030405Z-1a2b3c';

/** What `name` may be in the output of each command for people: a mountpoint, a target, a path, what a program said. */
const PRINTED: Readonly<Record<string, (name: string) => string>> = {
  plan: (name) => {
    const path = `/${name}`;
    const filesystem = aFilesystem({ mountpoint: path, source: `/dev/${name}` });
    const job = aJob({ sources: [aSource({ path, exclude: [name] })] });
    const detectors = fakeDetectors();
    const plan = makePlan(job, hostFacts({ sources: [sourceFacts(filesystem)] }), detectors, {
      force: false,
    });
    const error = { code: 'usage', exitCode: 2, message: name, hint: name } as const;
    return renderPlan({
      ...plan,
      warnings: [name],
      failedCopies: [{ target: name, engine: 'rsync', error }],
    });
  },
  run: (name) => {
    const report = successfulReport();
    const error = { code: 'copyFailed', exitCode: 40, message: name, hint: name } as const;
    return renderReport(
      {
        ...report,
        sources: report.sources.map((one) => ({ ...one, mountpoint: name, freezeModeReason: name })),
        copies: report.copies.map((one) => ({ ...one, target: name })),
        failedCopies: [{ target: name, engine: 'rsync', error: { ...error, message: `other ${name}` } }],
        steps: report.steps.map((one) => ({ ...one, step: `copy to ${name}` })),
        warnings: [name],
        error,
      },
      style,
    );
  },
  'a log of a run': (name) => {
    const written: string[] = [];
    const write = (text: string): void => void written.push(text);
    const reporter = new PlainReporter({ log: write, result: write, now: () => 0 }, style);
    reporter.warn(name);
    reporter.stepFailed('copy', name);
    return written.join('');
  },
  status: (name) =>
    renderStatus(
      {
        frozen: [
          {
            mountpoint: name,
            device: name,
            fstype: 'ext4',
            freezeId: null,
            since: at,
            timeoutSeconds: 10,
            expiresAt: at,
            owner: { pid: 1, command: name },
            watchdogPids: [2, 3],
            guards: 'alive',
            state: 'frozen',
          },
        ],
        lost: [{ mountpoint: name, device: name, fstype: 'ext4', freezeId: null, reason: 'timeout', at }],
        runs: [],
        bases: [{ job: 'srv', target: name, backupId, snapshots: [{ mountpoint: name, name }] }],
      },
      0,
    ) +
    renderMounts([{ target: name, job: 'srv', backupId, directory: name, kind: 'kernel', mountedAt: at }]),
  'backups list': (name) => {
    const ref = { target: name, job: 'srv', backupId };
    return renderBackupList(
      new Map([
        [
          name,
          [
            { ...ref, state: 'complete', manifest: manifestFor(ref, { host: { name } }) },
            { ...ref, state: 'damaged', problem: name },
          ],
        ],
        ['/absent', []],
      ]),
      {
        verifications: verificationsFrom([]),
        mountPlaces: () => [name],
        absent: new Map([['/absent', { target: '/absent', message: name, hint: name }]]),
        catalogued: new Set<string>(),
      },
      { unreadable: [], interrupted: new Map() },
    );
  },
  'backups show': (name) => {
    const ref = { target: name, job: 'srv', backupId };
    const manifest = manifestFor(ref, {
      sources: [name],
      unreadable: [name],
      report: successfulReport({ warnings: [name] }),
    });
    return renderBackup({ ...ref, state: 'complete', manifest }, name, undefined);
  },
  'backups mount': (name) =>
    renderMounted({
      version: 1,
      target: name,
      job: 'srv',
      backupId,
      directory: name,
      kind: 'kernel',
      mountedAt: at,
      madeDirectory: false,
    }),
  'backups verify': (name) =>
    renderVerify({
      target: name,
      job: 'srv',
      backupId,
      engine: 'rsync',
      mode: 'drill',
      outcome: 'failed',
      exitCode: 50,
      startedAt: at,
      finishedAt: at,
      files: 1,
      bytes: 1,
      withoutDigest: 0,
      changed: { count: 1, paths: [name] },
      missing: { count: 1, paths: [name] },
      extra: { count: 1, paths: [name] },
      problems: [name],
      drill: { directory: name, restoredFiles: 1, restoredBytes: 1, command: [name], leftBehind: name },
    }),
  'backups prune': (name) =>
    renderPrune(
      [
        {
          target: name,
          job: 'srv',
          verdicts: [],
          interrupted: [],
          removed: [],
          failed: [{ backupId, message: name }],
        },
      ],
      false,
    ),
  restore: (name) =>
    renderRestore({
      version: 1,
      job: 'srv',
      backupId,
      target: name,
      engine: 'rsync',
      completedAt: at,
      snapshotStartedAt: null,
      consistency: 'filesystem',
      destination: name,
      inPlace: false,
      paths: [name],
      matched: null,
      outcome: 'partial',
      exitCode: 41,
      files: 1,
      bytes: 1,
      notRestored: [name],
      notInBackup: [name],
      backupWarnings: [name],
      doubt: name,
    }),
  'the question of a restore in place': (name) =>
    renderPreview(
      { files: 1, existing: 1, sample: [name] },
      { name: `srv@${backupId}`, completedAt: at, paths: [name] },
    ),
  recover: (name) =>
    renderRecover({
      version: 1,
      released: [{ kind: 'snapshot', what: name, job: 'srv', runId: 'r', keptIn: name }],
      failed: [{ kind: 'snapshot', what: name, job: 'srv', runId: 'r', message: name }],
      leftAlone: [{ kind: 'snapshot', what: name, job: 'srv', runId: 'r' }],
      unreadable: [{ file: name, reason: name }],
    }),
  doctor: (name) =>
    renderDoctor(
      {
        version: 1,
        findings: [problem('x', name, { detail: name, fix: name })],
        mountpoints: [
          {
            mountpoint: name,
            job: 'srv',
            device: name,
            fstype: 'ext4',
            stack: [{ device: name, majorMinor: '7:0', type: 'loop', image: name }],
            provider: 'reflink',
            freezeMode: 'explicit',
            freezeModeReason: name,
            consistency: 'filesystem',
            findings: [],
          },
        ],
      },
      style,
    ),
};

it.each(Object.entries(PRINTED))('%s: no name writes a line of its own, or to the terminal', (_, print) => {
  const hostile = print('a\r\nError: all is lost\t\u001B[2J\u0085b');
  expect(hostile).not.toMatch(/[^\P{Cc}\n]/u);
  expect(hostile).toContain(String.raw`a\x0d\x0aError: all is lost\x09\x1b[2J\x85b`);
  expect(hostile.split('\n')).toHaveLength(print('name').split('\n').length);
});

it('JSON has no control character but its own line ends, and says the same', () => {
  const value = { name: 'a\u009B2J\u007F\u0085\u001B[2Jü\u00A0', list: ['\n'] };
  for (const text of [asJson(value), asJson(value, 2)]) {
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
    expect(text).toContain(String.raw`a\u009b2J\u007f\u0085\u001b[2Jü`);
    expect(JSON.parse(text)).toEqual(value);
  }
});
