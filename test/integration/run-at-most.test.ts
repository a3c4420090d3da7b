import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { runAtMost } from '../../src/system/run-at-most.js';
import { describeNeeding } from '../support/capabilities.js';
import { must, ThrowawayDisks } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();

afterEach(async () => {
  await disks.dispose();
});

describe('a program that may hang', () => {
  it('is told of like any other when it ends', async () => {
    const ended = await runAtMost(['sh', '-c', 'echo said; exit 3'], { timeoutMs: 20_000 });
    expect(ended).toMatchObject({ exitCode: 3, stdout: 'said\n', timedOut: false });
  });
});

describeNeeding(['root', 'loop', 'ext4'], 'a program that hangs in D state', () => {
  it('is given up although no signal ends it', async () => {
    const { mountpoint } = await disks.filesystem({ fstype: 'ext4' });
    await must('fsfreeze', '--freeze', mountpoint);
    try {
      const file = path.join(mountpoint, 'file');
      const ended = await runAtMost(['touch', file], { timeoutMs: 100 });
      expect(ended).toMatchObject({ exitCode: undefined, timedOut: true });
      // It hangs still: what was given up is not what ended.
      const [hanging] = (await must('pgrep', '--full', '--exact', `touch ${file}`)).split('\n');
      expect(Number(hanging)).toBeGreaterThan(1);
    } finally {
      await must('fsfreeze', '--unfreeze', mountpoint);
    }
  });
});
