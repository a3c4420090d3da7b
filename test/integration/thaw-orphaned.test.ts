import process from 'node:process';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, FreezeHarness } from '../support/freeze-harness.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** What the unit of systemd runs after each end of a job. */
describeNeeding(['root', 'loop', 'ext4'], 'thaw --all --orphaned', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let harness: FreezeHarness;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.dispose();
  });

  const orphaned = () => harness.fsbackup('thaw', '--all', '--orphaned');

  it('leaves alone what a command holds that runs; thaws it once that is dead and its guards are stopped', async () => {
    const cli = harness.startFsbackup('freeze', '--timeout', '60', disk.mountpoint, '--', 'sleep', '90');
    const { watchdog, second } = await harness.held(disk.mountpoint);
    expect((await orphaned()).stdout).toMatch(/Nothing was frozen/);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(true);
    for (const pid of [second, watchdog]) process.kill(pid, 'SIGSTOP');
    cli.kill('SIGKILL');
    expect(await ended(cli)).toBe('SIGKILL');
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(true);
    const thawed = await orphaned();
    expect(thawed.stdout, thawed.stderr).toContain(`Thawed: ${disk.mountpoint}`);
    expect(thawed.exitCode).toBe(0);
    await harness.write(disk.mountpoint);
  });

  it('leaves alone what was frozen by hand, until it is told to thaw all', async () => {
    expect((await harness.fsbackup('freeze', '--timeout', '60', disk.mountpoint)).exitCode).toBe(0);
    await harness.held(disk.mountpoint);
    expect((await orphaned()).stdout).toMatch(/Nothing was frozen/);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(true);
    expect((await harness.fsbackup('thaw', '--all')).stdout).toContain(`Thawed: ${disk.mountpoint}`);
  });

  it('is for all, not for mountpoints', async () => {
    expect(await harness.fsbackup('thaw', '--orphaned', disk.mountpoint)).toMatchObject({ exitCode: 2 });
  });
});
