import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findGuardedDevices } from '../../../src/freeze/guarded-devices.js';
import type { FilesystemFacts } from '../../../src/snapshots/provider.js';
import { readBlockStack, readJoinedStack } from '../../../src/system/block-stack.js';
import { aFilesystem } from '../../support/plan-facts.js';

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
  /** After the name. */
  uuidEnd?: string;
  suspended?: boolean;
}

/** A block device as sysfs shows it, a partition by `DISK/PARTITION`. Those below it come first. */
function device(name: string, majorMinor: string, slaves: readonly string[], dm?: Dm): void {
  const directory = path.join(sysfs, 'block', name);
  for (const links of ['slaves', 'holders']) mkdirSync(path.join(directory, links), { recursive: true });
  writeFileSync(path.join(directory, 'dev'), `${majorMinor}\n`);
  symlinkSync(`../../block/${name}`, path.join(sysfs, 'dev/block', majorMinor));
  if (name.includes('/')) writeFileSync(path.join(directory, 'partition'), '1\n');
  for (const slave of slaves) {
    symlinkSync(path.join(sysfs, 'block', slave), path.join(directory, 'slaves', path.basename(slave)));
    symlinkSync(directory, path.join(sysfs, 'block', slave, 'holders', name));
  }
  if (dm === undefined) return;
  mkdirSync(path.join(directory, 'dm'));
  writeFileSync(path.join(directory, 'dm/uuid'), `LVM-${dm.name}${dm.uuidEnd ?? ''}\n`);
  writeFileSync(path.join(directory, 'dm/name'), `${dm.name}\n`);
  writeFileSync(path.join(directory, 'dm/suspended'), `${dm.suspended === true ? 1 : 0}\n`);
}

async function names(majorMinor: string): Promise<string[] | undefined> {
  return (await readBlockStack(majorMinor, sysfs))?.map(({ name }) => name);
}

/** A thin volume `dm-4`, and another `dm-5`, on a pool whose data and metadata lie on one disk. */
function thinPool({ suspended = false } = {}): void {
  device('vda', '254:0', []);
  device('dm-0', '252:0', ['vda'], { name: 'vg-pool_tmeta' });
  device('dm-1', '252:1', ['vda'], { name: 'vg-pool_tdata', suspended });
  device('dm-2', '252:2', ['dm-0', 'dm-1'], { name: 'vg-pool-tpool' });
  device('dm-4', '252:4', ['dm-2'], { name: 'vg-srv' });
  device('dm-5', '252:5', ['dm-2'], { name: 'vg-home' });
}

/** An origin with two classic snapshots; beside them something that is not LVM's, and a volume of another's. */
function originWithSnapshots({ suspended = false } = {}): void {
  device('vda', '254:0', []);
  device('dm-1', '252:1', ['vda'], { name: 'vg-srv-real', uuidEnd: '-real' });
  device('dm-0', '252:0', ['dm-1'], { name: 'vg-srv' });
  device('dm-2', '252:2', ['vda'], { name: 'vg-s1-cow', uuidEnd: '-cow' });
  device('dm-3', '252:3', ['dm-1', 'dm-2'], { name: 'vg-s1' });
  device('dm-4', '252:4', ['vda'], { name: 'vg-s2-cow', uuidEnd: '-cow' });
  device('dm-5', '252:5', ['dm-1', 'dm-4'], { name: 'vg-s2', suspended });
  device('md1', '9:1', ['dm-1']);
  device('dm-6', '252:6', ['vda'], { name: 'vg-home' });
}

async function filesystem(mountpoint: string, majorMinor: string): Promise<FilesystemFacts> {
  return { ...aFilesystem({ mountpoint, majorMinor }), stack: await readBlockStack(majorMinor, sysfs) };
}

describe('the devices below a filesystem', () => {
  it('come the topmost first, each once', async () => {
    thinPool();
    expect(await names('252:4')).toEqual(['dm-4', 'dm-2', 'dm-0', 'dm-1', 'vda']);
    expect(await names('254:0')).toEqual(['vda']);
    expect(await names('0:40')).toBeUndefined();
  });

  it('come each before all that it lies on, however the ways down differ in length', async () => {
    device('sda', '8:0', []);
    device('dm-0', '252:0', ['sda'], { name: 'low' });
    device('md0', '9:0', ['dm-0']);
    device('dm-1', '252:1', ['dm-0', 'md0'], { name: 'top' });
    expect(await names('252:1')).toEqual(['dm-1', 'md0', 'dm-0', 'sda']);
  });

  it('are those of the disk too, where one is a partition of it', async () => {
    device('dm-0', '252:0', [], { name: 'low' });
    device('md0', '9:0', ['dm-0']);
    device('md0/md0p1', '259:1', []);
    device('dm-1', '252:1', ['md0/md0p1'], { name: 'top' });
    expect(await names('252:1')).toEqual(['dm-1', 'md0p1', 'md0', 'dm-0']);
    expect(await names('9:0')).toEqual(['md0', 'dm-0']);
  });

  it('are those under several, each before all that it lies on, the first named first', async () => {
    device('sda', '8:0', []);
    device('dm-0', '252:0', ['sda'], { name: 'one' });
    device('dm-1', '252:1', ['sda'], { name: 'two' });
    const joined = await readJoinedStack(['252:1', '252:0', '252:1', '252:9'], sysfs);
    expect(joined?.map(({ name }) => name)).toEqual(['dm-1', 'dm-0', 'sda']);
    expect(await readJoinedStack(['252:9'], sysfs)).toBeUndefined();
  });
});

describe('the devices that the dead-man guards', () => {
  it('are those of device-mapper, the shared ones below both filesystems', async () => {
    thinPool();
    const guarded = await findGuardedDevices(
      [await filesystem('/srv', '252:4'), await filesystem('/home', '252:5')],
      sysfs,
    );
    expect(guarded).toEqual([
      { majorMinor: '252:4', name: 'vg-srv', mountpoints: ['/srv'] },
      { majorMinor: '252:5', name: 'vg-home', mountpoints: ['/home'] },
      { majorMinor: '252:2', name: 'vg-pool-tpool', mountpoints: ['/srv', '/home'] },
      { majorMinor: '252:0', name: 'vg-pool_tmeta', mountpoints: ['/srv', '/home'] },
      { majorMinor: '252:1', name: 'vg-pool_tdata', mountpoints: ['/srv', '/home'] },
    ]);
  });

  it('are not the other volumes of a thin pool, which nobody suspends for a snapshot', async () => {
    thinPool();
    const guarded = await findGuardedDevices([await filesystem('/srv', '252:4')], sysfs);
    expect(guarded.map(({ name }) => name)).not.toContain('vg-home');
  });

  it('are those of the snapshots of an origin too, above what they lie on; and not of what else lies there', async () => {
    originWithSnapshots();
    const guarded = await findGuardedDevices([await filesystem('/srv', '252:0')], sysfs);
    expect(guarded).toEqual([
      { majorMinor: '252:0', name: 'vg-srv', mountpoints: ['/srv'] },
      { majorMinor: '252:3', name: 'vg-s1', mountpoints: ['/srv'], snapshotOf: 'vg-srv' },
      { majorMinor: '252:2', name: 'vg-s1-cow', mountpoints: ['/srv'], snapshotOf: 'vg-srv' },
      { majorMinor: '252:5', name: 'vg-s2', mountpoints: ['/srv'], snapshotOf: 'vg-srv' },
      { majorMinor: '252:4', name: 'vg-s2-cow', mountpoints: ['/srv'], snapshotOf: 'vg-srv' },
      { majorMinor: '252:1', name: 'vg-srv-real', mountpoints: ['/srv'] },
    ]);
  });

  it('are refused when a snapshot of the origin is suspended already: LVM would resume it, or hang', async () => {
    originWithSnapshots({ suspended: true });
    await expect(findGuardedDevices([await filesystem('/srv', '252:0')], sysfs)).rejects.toMatchObject({
      code: 'notFrozen',
      message: 'vg-s2, a snapshot of vg-srv, is suspended already',
    });
  });

  it('are those that there are now, whatever there was at the time of the plan', async () => {
    device('vda', '254:0', []);
    device('dm-1', '252:1', ['vda'], { name: 'vg-srv', uuidEnd: '-real' });
    device('dm-0', '252:0', ['dm-1'], { name: 'vg-srv' });
    const planned = await filesystem('/srv', '252:0');
    rmSync(path.join(sysfs, 'block/dm-0/slaves/dm-1'));
    rmSync(path.join(sysfs, 'dev/block/252:1'));
    device('dm-2', '252:2', ['vda'], { name: 'vg-srv', uuidEnd: '-real' });
    symlinkSync(path.join(sysfs, 'block/dm-2'), path.join(sysfs, 'block/dm-0/slaves/dm-2'));
    const guarded = await findGuardedDevices([planned], sysfs);
    expect(guarded.map(({ majorMinor }) => majorMinor)).toEqual(['252:0', '252:2']);
  });

  it('are not those that are gone by now, and nothing is known where one cannot be looked at', async () => {
    device('vda', '254:0', []);
    device('dm-0', '252:0', ['vda'], { name: 'vg-srv' });
    const suspended = path.join(sysfs, 'block/dm-0/dm/suspended');
    rmSync(suspended);
    expect(await findGuardedDevices([await filesystem('/srv', '252:0')], sysfs)).toEqual([]);
    mkdirSync(suspended);
    await expect(findGuardedDevices([await filesystem('/srv', '252:0')], sysfs)).rejects.toMatchObject({
      code: 'EISDIR',
    });
  });

  it('are none where there is no device-mapper', async () => {
    device('vda', '254:0', []);
    expect(await findGuardedDevices([await filesystem('/srv', '254:0'), aFilesystem()], sysfs)).toEqual([]);
  });

  it('are refused when one is suspended already, with what to do', async () => {
    thinPool({ suspended: true });
    await expect(findGuardedDevices([await filesystem('/srv', '252:4')], sysfs)).rejects.toMatchObject({
      code: 'notFrozen',
      message: 'vg-pool_tdata, below /srv, is suspended already',
      hint: expect.stringContaining('dmsetup resume vg-pool_tdata') as string,
    });
  });
});
