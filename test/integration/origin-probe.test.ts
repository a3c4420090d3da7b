import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { armFreezer } from '../../src/freeze/arm-freezer.js';
import { findRecord } from '../../src/freeze/freeze-record.js';
import type { FreezeTarget } from '../../src/freeze/freezer.js';
import { OriginProbe } from '../../src/run/origin-probe.js';
import { describeNeeding } from '../support/capabilities.js';
import { isFrozen } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const OPTIONS = { timeoutMs: 10_000, maxHoldMs: 60_000 };

function targetOf({ mountpoint, majorMinor, device, fstype }: ThrowawayFilesystem): FreezeTarget {
  return { mountpoint, majorMinor, device, fstype };
}

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the probe of an origin', () => {
  const disks = throwawayDisks(afterAll);
  const outside = process.env['FSBACKUP_RUN_DIR'];
  let ext4: ThrowawayFilesystem;
  let xfs: ThrowawayFilesystem;
  let unfreezable: ThrowawayFilesystem;

  beforeAll(async () => {
    ext4 = await disks.filesystem({ fstype: 'ext4' });
    xfs = await disks.filesystem({ fstype: 'xfs' });
    // Nothing freezes it.
    const mountpoint = `${disks.directory}/tmpfs`;
    mkdirSync(mountpoint);
    await must('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mountpoint);
    const majorMinor = await must('findmnt', '--noheadings', '--output', 'MAJ:MIN', mountpoint);
    unfreezable = { ...ext4, mountpoint, majorMinor };
    process.env['FSBACKUP_RUN_DIR'] = `${disks.directory}/run`;
  });
  afterAll(() => {
    if (outside === undefined) delete process.env['FSBACKUP_RUN_DIR'];
    else process.env['FSBACKUP_RUN_DIR'] = outside;
  });

  it('leaves nothing frozen, and keeps every other fsbackup away until it is closed', async () => {
    const targets = [unfreezable, ext4, xfs].map(targetOf);
    const probe = await OriginProbe.arm(targets, armFreezer, OPTIONS);
    try {
      await probe.probe();
      writeFileSync(`${ext4.mountpoint}/written`, 'x');
      writeFileSync(`${xfs.mountpoint}/written`, 'x');
      // Should we be killed now, nobody is to take it for a freeze of ours.
      expect(findRecord(targetOf(ext4))).toMatchObject({ status: { kind: 'thawed' }, guarded: true });
      await expect(OriginProbe.arm([targetOf(ext4)], armFreezer, OPTIONS)).rejects.toMatchObject({
        code: 'locked',
      });
    } finally {
      await probe.close();
    }
    expect(findRecord(targetOf(ext4))).toMatchObject({ status: { kind: 'thawed' }, guarded: false });
    for (const filesystem of [ext4, xfs]) expect(await isFrozen(filesystem)).toBe(false);
  });

  it.each(['ext4', 'xfs'] as const)(
    'refuses a %s that somebody else froze, and leaves it so',
    async (fstype) => {
      const filesystem = fstype === 'ext4' ? ext4 : xfs;
      await must('fsfreeze', '--freeze', filesystem.mountpoint);
      try {
        const probe = await OriginProbe.arm([targetOf(filesystem)], armFreezer, OPTIONS);
        try {
          await expect(probe.probe()).rejects.toMatchObject({
            code: 'notFrozen',
            message: `${filesystem.mountpoint} is already frozen by someone else; it was left as it is`,
          });
        } finally {
          await probe.close();
        }
        expect(await isFrozen(filesystem)).toBe(true);
        expect(findRecord(targetOf(filesystem))).toMatchObject({ status: { kind: 'thawed' } });
      } finally {
        await must('fsfreeze', '--unfreeze', filesystem.mountpoint);
      }
    },
  );

  it.each([
    ['the run is told to end', 10_000, 'told to end'],
    ['its time is over', 300, 'freezeLost'],
  ] as const)('that waits for a filesystem below is given up when %s', async (what, timeoutMs, why) => {
    const upper = await disks.filesystem({ fstype: 'ext4', on: xfs });
    writeFileSync(`${upper.mountpoint}/dirty`, Buffer.alloc(1 << 20));
    const controller = new AbortController();
    const probe = await OriginProbe.arm([targetOf(upper)], armFreezer, { timeoutMs, maxHoldMs: 60_000 });
    try {
      await must('fsfreeze', '--freeze', xfs.mountpoint);
      let probing;
      try {
        probing = probe.probe(controller.signal).catch((error: unknown) => error);
        await sleep(1000);
        if (what === 'the run is told to end') controller.abort(new Error(why));
        await sleep(200);
      } finally {
        await must('fsfreeze', '--unfreeze', xfs.mountpoint);
      }
      expect(await probing).toMatchObject(why === 'freezeLost' ? { code: why } : { message: why });
    } finally {
      await probe.close();
    }
    expect(await isFrozen(upper)).toBe(false);
  });

  it('is for more filesystems than one pair of guards takes', async () => {
    const armed: number[] = [];
    const probe = await OriginProbe.arm(
      Array.from({ length: 33 }, () => targetOf(ext4)),
      async ({ targets }) => {
        armed.push(targets.length);
        // There is one filesystem here for the first pair, and none for the second, which is therefore refused.
        return await armFreezer(
          { targets: targets.slice(0, armed.length === 1 ? 1 : 0), devices: [] },
          OPTIONS,
        );
      },
      OPTIONS,
    ).catch((error: unknown) => error);
    expect(armed).toEqual([32, 1]);
    expect(probe).toMatchObject({ code: 'usage' });
    // What the first held is free again.
    await (await OriginProbe.arm([targetOf(ext4)], armFreezer, OPTIONS)).close();
  });
});
