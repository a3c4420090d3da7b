import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { DeadmanLab, MARGIN_MS, TIMEOUT_MS } from '../support/deadman-lab.js';
import { isSuspended, suspendedDevices } from '../support/device-mapper.js';
import { expectLost } from '../support/expect-lost.js';
import { describeInLab } from '../support/lab.js';
import type { LabVolume } from '../support/lvm-lab.js';
import { must } from '../support/throwaway-filesystem.js';

/** No longer than the timeout: whether heartbeats come in time makes no difference. */
const TIMES = { maxHold: `${TIMEOUT_MS}ms` };

/** Puts another device over a volume, and mounts that instead. */
async function layered(volume: LabVolume): Promise<LabVolume> {
  await must('umount', volume.mountpoint);
  const sectors = await must('blockdev', '--getsz', volume.device);
  await must('dmsetup', 'create', 'layer', '--table', `0 ${sectors} linear ${volume.device} 0`);
  await must('mount', '/dev/mapper/layer', volume.mountpoint);
  return { ...volume, device: '/dev/mapper/layer' };
}

describeInLab({ once: 'refuses' }, 'a snapshot command that hangs on a stack of devices', ({ disks }) => {
  let lab: DeadmanLab;

  beforeAll(async () => {
    lab = await DeadmanLab.make('deadman', disks[0] ?? '', {}, layered);
    await must('lvcreate', '--quiet', '--yes', '-Wy', '-L', '16m', '-n', 'foreign', 'deadman');
  });
  afterEach(async () => {
    await lab.release();
  });
  afterAll(async () => {
    await lab.release();
    await lab.writer.stop().catch(() => undefined);
    await must('umount', lab.volume.mountpoint);
    await must('dmsetup', 'remove', '--retry', 'layer');
    await lab.dispose();
  });

  it('has the lower resumed before the upper, which waits for it, and nothing else resumed', async () => {
    await must('dmsetup', 'suspend', 'deadman-foreign');
    // The upper is suspended with the filesystem frozen: to resume it is to write to the lower.
    const how = 'dmsetup suspend layer; dmsetup suspend --nolockfs deadman-srv';
    const started = await lab.suspendedBy(await lab.job(lab.hang(how), TIMES));
    await expectLost(lab, started, { reason: 'max-hold', resumed: ['layer', 'deadman-srv'] });
    expect(await lab.stallMs()).toBeLessThan(TIMEOUT_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual(['deadman-foreign']);
  });

  it('has the filesystem thawed too that we froze', async () => {
    // No kernel is asked to freeze twice: what is below alone is suspended.
    const hang = lab.hang('dmsetup suspend --nolockfs deadman-srv');
    const started = await lab.suspendedBy(await lab.job(hang, { ...TIMES, freezeMode: 'explicit' }));
    await expectLost(lab, started, { reason: 'max-hold' });
    expect(await lab.stallMs()).toBeLessThan(TIMEOUT_MS + MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
  });

  it('has both undone when the command line is killed', async () => {
    const hang = lab.hang('dmsetup suspend --nolockfs deadman-srv');
    const times = { timeout: '50s', freezeMode: 'explicit' } as const;
    const started = await lab.suspendedBy(await lab.job(hang, times));
    started.kill('SIGKILL');
    expect(await lab.stallMs()).toBeLessThan(MARGIN_MS);
    expect(await lab.leftovers()).toEqual([]);
    expect(await lab.cli.recover()).toMatchObject({ exitCode: 0, value: { failed: [] } });
  });

  it('leaves each with the table it had, whatever was loaded meanwhile', async () => {
    const before = await must('dmsetup', 'table', 'deadman-srv');
    const sectors = before.split(' ')[1] ?? '';
    const how = `dmsetup load deadman-srv --table "0 ${sectors} error"; dmsetup suspend --nolockfs deadman-srv`;
    const started = await lab.suspendedBy(await lab.job(lab.hang(how), TIMES));
    expect(await must('dmsetup', 'table', '--inactive', 'deadman-srv')).toContain('error');
    await expectLost(lab, started, { reason: 'max-hold' });
    await lab.stallMs();
    expect(await must('dmsetup', 'table', 'deadman-srv')).toBe(before);
    expect(await must('dmsetup', 'table', '--inactive', 'deadman-srv')).not.toContain('error');
    expect(await lab.leftovers()).toEqual([]);
  });

  it('is not even started where one of them is suspended already', async () => {
    const args = await lab.job('exit 1', TIMES);
    await must('dmsetup', 'suspend', '--nolockfs', 'deadman-srv');
    const { exitCode, value } = await lab.cli.runJob(...args.slice(1, -1));
    expect({ exitCode, error: value.error }).toMatchObject({
      exitCode: 20,
      error: { code: 'notFrozen', hint: expect.stringContaining('dmsetup resume deadman-srv') as string },
    });
    expect(value.sources).toMatchObject([{ attempts: 0 }]);
    expect(isSuspended(lab.suspended)).toBe(true);
    expect(await suspendedDevices()).toEqual(['deadman-srv']);
    await lab.release();
    await lab.stallMs();
  });

  it('has not hurt the filesystem, nor anything left mounted', async () => {
    expect(await lab.isSound()).toBe(true);
    await mkdir(path.join(lab.volume.mountpoint, 'after'));
  });
});
