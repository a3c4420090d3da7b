import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

let directory: string;
let early: typeof import('../../../src/freeze/early-thaw.js');

beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'thaw-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', path.join(directory, 'run'));
  // As at the start of a process: it remembers what was begun.
  vi.resetModules();
  early = await import('../../../src/freeze/early-thaw.js');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

it('begins with all that is held, and the command finds the same thaw', async () => {
  await early.beginThaw(['--all']);
  const request = { all: true, orphaned: false } as const;
  const first = early.thaw(request);
  expect(early.thaw({ ...request })).toBe(first);
  expect(await first).toEqual({ thawed: [], failures: [] });
  // Another request is another thaw.
  expect(early.thaw({ all: true, orphaned: true })).not.toBe(first);
});

it('begins with mountpoints that are named as such', async () => {
  await early.beginThaw([directory]);
  const request = { all: false, mountpoints: [directory], force: false } as const;
  // What is loaded next has the processor for a while: the thaw is over before.
  let isOver = false;
  void early.thaw(request).then(() => (isOver = true));
  await Promise.resolve();
  expect(isOver).toBe(true);
  expect(early.thaw(request)).toBe(early.thaw({ ...request }));
  expect((await early.thaw(request)).failures).toMatchObject([{ code: 'notFrozen' }]);
});

it.each([[], ['--all', '--orphaned'], ['--force', '/srv'], ['--json', '--all'], ['srv']])(
  'begins nothing that the parser is to judge first: %s',
  async (...args) => {
    await early.beginThaw(args);
    for (const request of [
      { all: true, orphaned: false },
      { all: false, mountpoints: args, force: false },
    ] as const)
      expect(early.thaw(request)).not.toBe(early.thaw(request));
  },
);

it('leaves it to the command to tell why it failed', async () => {
  vi.stubEnv('FSBACKUP_RUN_DIR', path.join('/proc/self/cmdline', 'run'));
  await early.beginThaw(['--all']);
  await expect(early.thaw({ all: true, orphaned: false })).rejects.toMatchObject({ code: 'ENOTDIR' });
});
