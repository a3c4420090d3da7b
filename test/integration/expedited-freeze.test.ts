import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness } from '../support/freeze-harness.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const SWITCH = '/sys/kernel/rcu_expedited';

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'expedited grace periods', () => {
  const disks = throwawayDisks(afterAll);
  let first: ThrowawayFilesystem;
  let second: ThrowawayFilesystem;
  let harness: FreezeHarness;
  const isOn = (): string => readFileSync(SWITCH, 'utf8').trim();
  const mark = (): string => `${disks.directory}/state/run/rcu-expedited`;
  const before = isOn();

  beforeAll(async () => {
    first = await disks.filesystem({ fstype: 'ext4' });
    second = await disks.filesystem({ fstype: 'xfs' });
    await mkdir(`${disks.directory}/state/run`, { recursive: true });
  });
  beforeEach(() => {
    writeFileSync(SWITCH, '0');
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.dispose();
    writeFileSync(SWITCH, before);
  });

  const frozenCat = (disk: ThrowawayFilesystem) =>
    harness.fsbackup('freeze', disk.mountpoint, '--', 'cat', SWITCH);

  it('are on while a freeze is made, and off after it', async () => {
    expect(await frozenCat(first)).toMatchObject({ exitCode: 0, stdout: '1\n' });
    expect(isOn()).toBe('0');
  });

  it('are off as soon as a freeze is left to the watchdogs, which need none to thaw', async () => {
    expect((await harness.fsbackup('freeze', first.mountpoint)).exitCode).toBe(0);
    expect(isOn()).toBe('0');
    expect((await harness.fsbackup('thaw', first.mountpoint)).exitCode).toBe(0);
  });

  it('stay on when they were on before: the administrator wanted it', async () => {
    writeFileSync(SWITCH, '1');
    expect((await frozenCat(first)).exitCode).toBe(0);
    expect(isOn()).toBe('1');
  });

  it('stay on as long as another freeze of ours needs them', async () => {
    const holder = harness.startFsbackup('freeze', '--timeout', '50', first.mountpoint, '--', 'sleep', '60');
    await harness.held(first.mountpoint);
    expect(await frozenCat(second)).toMatchObject({ exitCode: 0, stdout: '1\n' });
    expect(isOn()).toBe('1');
    holder.kill('SIGTERM');
    expect(await ended(holder)).toBe(143);
    expect(isOn()).toBe('0');
  });

  it.each(['watchdog', 'owner'] as const)(
    'are turned off by whoever is left when the %s is killed',
    async (victim) => {
      const holder = harness.startFsbackup(
        'freeze',
        '--timeout',
        '50',
        first.mountpoint,
        '--',
        'sleep',
        '60',
      );
      const pids = await harness.held(first.mountpoint);
      expect(isOn()).toBe('1');
      process.kill(pids[victim], 'SIGKILL');
      await eventually('the switch to be off', () => isOn() === '0');
      holder.kill('SIGKILL');
    },
  );

  it('that dead processes of ours left on are turned off after the next freeze', async () => {
    writeFileSync(SWITCH, '1');
    writeFileSync(mark(), readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    expect(await frozenCat(first)).toMatchObject({ exitCode: 0, stdout: '1\n' });
    expect(isOn()).toBe('0');
    expect(readFileSync(mark(), 'utf8')).toBe('');
  });

  it('that dead processes left on in another boot are not ours any more', async () => {
    writeFileSync(SWITCH, '1');
    writeFileSync(mark(), '00000000-0000-0000-0000-000000000000');
    expect((await frozenCat(first)).exitCode).toBe(0);
    expect(isOn()).toBe('1');
  });
});
