import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FreezeRecord } from '../../../src/freeze/freeze-record.js';
import { isGuard, isStopped } from '../../../src/freeze/kill-guards.js';
import { isOverdue } from '../../../src/freeze/overdue-freeze.js';
import { DEADLINE_AT, SLOTS_AT, SlotState } from '../../../src/freeze/protocol.js';
import { recoverFreezes } from '../../../src/freeze/recover-freezes.js';
import { boottimeMs, createPage } from '../../../src/system/native.js';
import { eventually } from '../../support/freeze-harness.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';

/** Long enough that no machine is so slow: what is to be in time is. */
const LONG_MS = 1_000_000;

/** Two processes that have a guard's name and page, and do nothing. */
describe('a freeze whose guards let its deadline pass', () => {
  let directory: string;
  let pageFd: number;
  let children: ChildProcess[];

  beforeAll(() => {
    directory = mkdtempSync(path.join(os.tmpdir(), 'overdue-'));
    for (const name of ['qsentry', 'vigil']) copyFileSync('/bin/sleep', path.join(directory, name));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  beforeEach(async () => {
    pageFd = createPage(1, 60_000, 60_000).fd;
    const stdio = ['ignore', 'ignore', 'ignore', 'ignore', pageFd] as const;
    children = ['qsentry', 'vigil'].map((name) =>
      spawn(path.join(directory, name), ['600'], { stdio: [...stdio] }),
    );
    await Promise.all(children.map((child) => once(child, 'spawn')));
  });
  afterEach(async () => {
    await Promise.all(
      children.map(async (child) => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }),
    );
    closeSync(pageFd);
  });

  const pids = (): number[] => children.map(({ pid = 0 }) => pid);

  function record(changes: Partial<FreezeRecord> = {}): FreezeRecord {
    const body = { slot: 0, watchdogPids: pids() } as unknown as FreezeRecord['body'];
    return { body, status: { kind: 'armed' }, guarded: true, ...changes };
  }

  function publish(state: number, lateMs: number): void {
    writeSync(pageFd, Uint32Array.of(state), 0, 4, SLOTS_AT);
    const deadlineNs = BigInt(Math.round((boottimeMs() - lateMs) * 1e6));
    writeSync(pageFd, BigInt64Array.of(deadlineNs), 0, 8, SLOTS_AT + DEADLINE_AT);
  }

  async function stop(child: ChildProcess | undefined): Promise<void> {
    child?.kill('SIGSTOP');
    await eventually('it to stop', () => isStopped(child?.pid ?? 0));
  }

  it.each(['held', 'probing'] as const)('is overdue where it is %s, and not before its time', (state) => {
    publish(SlotState[state], 1000);
    expect(isOverdue(record(), 1000)).toBe(true);
    expect(isOverdue(record(), LONG_MS)).toBe(false);
    publish(SlotState[state], -LONG_MS);
    expect(isOverdue(record(), 0)).toBe(false);
  });

  it.each(['idle', 'calling', 'failed', 'thawed', 'stuck'] as const)('is not where it is %s', (state) => {
    publish(SlotState[state], LONG_MS);
    expect(isOverdue(record(), 0)).toBe(false);
  });

  it('is not where a guard is at the thaw, unless none of them goes on with it', async () => {
    publish(SlotState.thawing, LONG_MS);
    expect(isOverdue(record(), 0)).toBe(false);
    await stop(children[0]);
    expect(isOverdue(record(), 0)).toBe(false);
    await stop(children[1]);
    expect(isOverdue(record(), 0)).toBe(true);
  });

  it('that cannot be thawed may still be frozen, which recover says, and leaves its guards alone', async () => {
    vi.stubEnv('FSBACKUP_RUN_DIR', directory);
    const recordFd = await putOnRecord(freezeBody({ watchdogPids: [pids()[0] ?? 0, pids()[1] ?? 0] }));
    try {
      publish(SlotState.held, LONG_MS);
      expect(await recoverFreezes({ lateMs: 0 })).toEqual({
        recovered: [],
        failures: [expect.stringContaining('/srv may still be frozen') as string],
      });
      expect(pids().every(isGuard)).toBe(true);
    } finally {
      closeSync(recordFd);
      vi.unstubAllEnvs();
    }
  });

  it('is not where it is on record as ended, or its guards are gone', async () => {
    publish(SlotState.held, LONG_MS);
    expect(isOverdue(record({ status: { kind: 'thawed' } }), 0)).toBe(false);
    const gone = record();
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => once(child, 'exit')));
    expect(isOverdue(gone, 0)).toBe(false);
  });
});
