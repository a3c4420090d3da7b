import { EventEmitter } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { freezeAroundCommand, type HeldResult } from '../../../src/freeze/freeze-around-command.js';
import * as byHand from '../../../src/freeze/freeze-by-hand.js';
import type { GuardedFreezer } from '../../../src/freeze/guarded-freezer.js';
import { eventually } from '../../support/freeze-harness.js';

// Other tests of this process have loaded what is mocked here. Nothing is frozen.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/freeze/freeze-by-hand.js', { spy: true });

let directory: string;
let signals: EventEmitter;
let done: string[];

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'around-'));
  signals = new EventEmitter();
  done = [];
});
afterEach(() => {
  vi.resetAllMocks();
  rmSync(directory, { recursive: true });
});

/** Whoever holds it frozen meanwhile: `thaw` is what becomes of a thaw; `begun` is called once all is frozen. */
function holder(thaw: () => Promise<unknown>, begun: () => unknown = () => undefined): void {
  const freezer = {
    thaw: async () => {
      done.push('thaw');
      return await thaw();
    },
  } as unknown as GuardedFreezer;
  vi.mocked(byHand.freezeWhile).mockImplementation(async (_targets, _options, work) => {
    begun();
    return { result: await work(freezer), outcomes: [], warnings: [] };
  });
}

async function around(...argv: [string, ...string[]]): Promise<HeldResult> {
  return await freezeAroundCommand([], { timeoutMs: 10_000, maxHoldMs: 20_000 }, argv, {
    signals,
    searchPath: '/usr/bin:/bin',
    warn: () => undefined,
  });
}

it('does not start the command where a signal comes just as all is frozen', async () => {
  holder(
    async () => undefined,
    () => signals.emit('SIGTERM', 'SIGTERM'),
  );
  const mark = path.join(directory, 'mark');
  await expect(around('touch', mark)).rejects.toMatchObject({ code: 'terminated' });
  expect(existsSync(mark)).toBe(false);
});

it.each([
  ['', async (): Promise<unknown> => undefined],
  [', though that thaw fails', (): Promise<unknown> => Promise.reject(new Error('FITHAW keeps failing'))],
] as const)('thaws first where a signal comes later, and ends the command%s', async (_, thaw) => {
  holder(thaw);
  const mark = path.join(directory, 'mark');
  const running = around('sh', '-c', 'touch "$0"; exec sleep 60', mark);
  await eventually('the command', () => existsSync(mark));
  signals.emit('SIGINT', 'SIGINT');
  await expect(running).rejects.toMatchObject({ code: 'interrupted' });
  expect(done).toEqual(['thaw']);
});
