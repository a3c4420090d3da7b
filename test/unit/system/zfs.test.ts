import { describe, expect, it } from 'vitest';
import { parseVdevs } from '../../../src/system/layers-below.js';
import { parsePool, poolOf, refusePool } from '../../../src/system/zfs.js';
import { parseUnmounted, readZfsVolume } from '../../../src/system/zfs-facts.js';
import { parseZvolName } from '../../../src/system/zvol.js';
import { aMount } from '../../support/plan-facts.js';

describe('what zpool and zfs print', () => {
  it('is read as a pool', () => {
    expect(parsePool('tank\tONLINE\toff\n')).toEqual({ name: 'tank', health: 'ONLINE', isReadOnly: false });
    expect(parsePool('tank\tONLINE\ton\n')).toMatchObject({ isReadOnly: true });
    expect(parsePool('')).toBeUndefined();
  });

  it('is read as the files and devices of a pool, whatever stands between', () => {
    const listed = 'tank\n\tmirror-0\n\t/dev/vdb1\n\t/srv/with space.img\nlogs\n\t/dev/vdc\n';
    expect(parseVdevs(listed)).toEqual(['/dev/vdb1', '/srv/with space.img', '/dev/vdc']);
    expect(parseVdevs('')).toEqual([]);
  });

  it('is read as the datasets that nobody can see, without those that hold nothing', () => {
    const listed = ['tank/srv\tyes\ton', 'tank/srv/off\tno\toff', 'tank/srv/my db\tno\tnoauto', ''].join(
      '\n',
    );
    expect(parseUnmounted(listed)).toEqual(['tank/srv/my db']);
  });
});

describe('names', () => {
  it.each([
    ['tank', 'tank'],
    ['tank/srv/a b', 'tank'],
    ['tank@x', 'tank'],
  ])('of %s the pool is %s', (name, pool) => {
    expect(poolOf(name)).toBe(pool);
  });

  it.each([
    ['zd0', { disk: 'zd0', partition: undefined }],
    ['zd16p3', { disk: 'zd16', partition: 3 }],
    ['sda1', undefined],
    ['zd16p', undefined],
  ])('of a device, %s', (name, expected) => {
    expect(parseZvolName(name)).toEqual(expected);
  });
});

describe('a pool', () => {
  it.each(['ONLINE', 'DEGRADED'])('that is %s can be snapshotted', (health) => {
    expect(refusePool({ name: 'tank', health, isReadOnly: false })).toBeUndefined();
  });

  it.each(['SUSPENDED', 'FAULTED', 'UNAVAIL'])('that is %s cannot, and the way out is named', (health) => {
    const refused = refusePool({ name: 'tank', health, isReadOnly: false });
    expect(refused?.reason).toContain(`tank is ${health}`);
    expect(refused?.hint).toContain('zpool clear tank');
  });
});

describe('what a mount has of ZFS', () => {
  it('is nothing where it lies on another device, and no program is asked', async () => {
    const stack = [{ name: 'vda1', majorMinor: '254:1', backingFile: undefined, dmUuid: undefined }] as const;
    expect(await readZfsVolume(aMount(), stack)).toBeUndefined();
    expect(await readZfsVolume(aMount(), undefined)).toBeUndefined();
  });

  it('is a snapshot where one is mounted: refused with what to name instead', async () => {
    const volume = await readZfsVolume(aMount({ fstype: 'zfs', source: 'tank/srv@monday' }), undefined);
    expect(volume).toMatchObject({ dataset: 'tank/srv@monday', kind: 'filesystem' });
    expect(volume?.problem?.reason).toContain('no snapshot of a snapshot');
    expect(volume?.problem?.hint).toContain('what tank/srv is mounted at');
  });
});
