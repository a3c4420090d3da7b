import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSuspendedDevices } from '../../../src/system/suspended-devices.js';

let sysfs: string;

beforeEach(() => {
  sysfs = mkdtempSync(path.join(tmpdir(), 'sysfs-'));
  mkdirSync(path.join(sysfs, 'dev/block'), { recursive: true });
});
afterEach(() => {
  rmSync(sysfs, { recursive: true });
});

interface Dm {
  name: string;
  suspended: boolean;
  sectors?: number;
}

/** `kernelName` is `DISK/PARTITION` for a partition. */
function device(kernelName: string, slaves: readonly string[], dm?: Dm): void {
  const directory = path.join(sysfs, 'block', kernelName);
  const number = `${dm === undefined ? 254 : 252}:${readdirSync(path.join(sysfs, 'dev/block')).length}`;
  mkdirSync(path.join(directory, 'slaves'), { recursive: true });
  writeFileSync(path.join(directory, 'dev'), `${number}\n`);
  symlinkSync(directory, path.join(sysfs, 'dev/block', number));
  if (kernelName.includes('/')) writeFileSync(path.join(directory, 'partition'), '1\n');
  for (const slave of slaves)
    symlinkSync(path.join(sysfs, 'block', slave), path.join(directory, 'slaves', path.basename(slave)));
  if (dm === undefined) return;
  mkdirSync(path.join(directory, 'dm'));
  writeFileSync(path.join(directory, 'size'), `${dm.sectors ?? 8}\n`);
  writeFileSync(path.join(directory, 'dm/name'), `${dm.name}\n`);
  writeFileSync(path.join(directory, 'dm/suspended'), `${dm.suspended ? 1 : 0}\n`);
}

describe('the suspended devices', () => {
  it('are told from the lowest up, whatever their numbers', async () => {
    device('vda', []);
    device('dm-7', ['vda'], { name: 'vg-srv-real', suspended: true });
    device('dm-8', ['vda'], { name: 'vg-snap-cow', suspended: false });
    device('dm-1', ['dm-7', 'dm-8'], { name: 'vg-snap', suspended: true });
    device('dm-0', ['dm-1'], { name: 'luks', suspended: true });
    expect(await readSuspendedDevices(sysfs)).toEqual(['vg-srv-real', 'vg-snap', 'luks']);
  });

  it('are told from the lowest up through the partitions of what lies between', async () => {
    device('vda', []);
    device('dm-1', ['vda'], { name: 'low', suspended: true });
    device('md0', ['dm-1']);
    device('md0/md0p1', []);
    device('dm-0', ['md0/md0p1'], { name: 'high', suspended: true });
    expect(await readSuspendedDevices(sysfs)).toEqual(['low', 'high']);
  });

  it('are not those without a live table, for which nobody waits', async () => {
    device('dm-0', [], { name: 'vg-srv-real', suspended: true, sectors: 0 });
    expect(await readSuspendedDevices(sysfs)).toEqual([]);
  });
});
