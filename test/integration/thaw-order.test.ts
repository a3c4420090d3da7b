import { symlink } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { FreezeHarness } from '../support/freeze-harness.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** The thaw of the upper waits in the kernel for that of the lower: asked first, it would wait for the deadline. */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'a filesystem on another, both frozen', () => {
  const disks = throwawayDisks(afterAll);
  let harness: FreezeHarness;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;

  beforeAll(async () => {
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  async function freeze(...mountpoints: string[]): Promise<void> {
    const { exitCode, stderr } = await harness.fsbackup('freeze', '--timeout', '60', ...mountpoints);
    expect(exitCode, stderr).toBe(0);
  }

  it('are thawed in the order that works, in whichever they are named', async () => {
    await freeze(lower.mountpoint, upper.mountpoint);
    const { exitCode, stdout, stderr } = await harness.fsbackup('thaw', upper.mountpoint, lower.mountpoint);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toBe(`Thawed: ${lower.mountpoint}\nThawed: ${upper.mountpoint}\n`);
  });

  it('are one to thaw, as to freeze, by whatever names it is given', async () => {
    const other = `${disks.directory}/other-name`;
    await symlink(upper.mountpoint, other);
    await freeze(upper.mountpoint, other);
    const { exitCode, stdout, stderr } = await harness.fsbackup('thaw', other, upper.mountpoint);
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toBe(`Thawed: ${other}\nThawed: ${upper.mountpoint}\n`);
  });

  it('are thawed so too when they were frozen one by one, and all are to be thawed', async () => {
    await freeze(upper.mountpoint);
    await freeze(lower.mountpoint);
    const { exitCode, stdout, stderr } = await harness.fsbackup('thaw', '--all');
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toBe(`Thawed: ${lower.mountpoint}\nThawed: ${upper.mountpoint}\n`);
  });
});
