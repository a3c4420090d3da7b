import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { FreezeRecord } from '../../../src/freeze/freeze-record.js';
import { findUntold, forgetUntold, keepUntold, readUntold } from '../../../src/freeze/untold-losses.js';
import { freezeBody } from '../../support/on-record.js';

const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;

let run: string;

beforeEach(() => {
  run = mkdtempSync(path.join(os.tmpdir(), 'untold-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', run);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(run, { recursive: true });
});

function record(changes: Partial<FreezeRecord> = {}): FreezeRecord {
  return { body: freezeBody({ freezeId: 'abcd1234' }), status: LOST, guarded: false, ...changes };
}

it('are kept until they are told, and are those of that filesystem alone', () => {
  expect(readUntold()).toEqual([]);
  const { body } = record();
  expect(findUntold(body)).toBeUndefined();
  keepUntold(record());
  const loss = expect.objectContaining({
    mountpoint: '/srv',
    freezeId: 'abcd1234',
    reason: 'timeout',
    at: LOST.at,
  }) as unknown;
  expect(findUntold(body)).toEqual(loss);
  expect(findUntold({ ...body, fstype: 'xfs' })).toBeUndefined();
  expect(readUntold()).toEqual([loss]);
  forgetUntold(body.majorMinor);
  forgetUntold(body.majorMinor);
  expect(readUntold()).toEqual([]);
});

it.each([
  ['was held to its end', { status: { kind: 'thawed' } }],
  ['was told as lost already', { status: { ...LOST, isTold: true } }],
  ['was held by a command, which knows', { body: freezeBody({ detached: false }) }],
] as const)('are not of a freeze that %s', (_, changes) => {
  keepUntold(record(changes));
  expect(readUntold()).toEqual([]);
});

it('are nothing to another boot, nor where one was cut short', () => {
  const { body } = record();
  keepUntold(record({ body: { ...body, bootId: 'another' } }));
  expect(readUntold()).toEqual([]);
  writeFileSync(path.join(run, 'untold', body.majorMinor), '{"mountpoint": "/s');
  expect(findUntold(body)).toBeUndefined();
});

it('that cannot be kept, or cannot be listed, are said so', () => {
  writeFileSync(path.join(run, 'untold'), '');
  expect(() => keepUntold(record())).toThrow(
    expect.objectContaining({
      code: 'failed',
      message: expect.stringMatching(/^that a freeze of \/srv was lost cannot be kept: /) as string,
    }),
  );
  expect(() => readUntold()).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
});
