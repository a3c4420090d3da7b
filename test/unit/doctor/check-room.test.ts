import { describe, expect, it } from 'vitest';
import { checkRoom, type LvmRoom, type RoomFacts } from '../../../src/doctor/check-room.js';

const GIB = 2 ** 30;

function statuses(facts: RoomFacts): string[] {
  return checkRoom(facts).map(({ status }) => status);
}

function lvm(overrides: Partial<LvmRoom> = {}): RoomFacts {
  return { lvm: { vg: 'vg', lv: 'srv', sizeBytes: 100 * GIB, vgFreeBytes: 10 * GIB, ...overrides } };
}

function pool(dataPercent: number | undefined, metadataPercent: number | undefined): RoomFacts {
  return lvm({ vgFreeBytes: 0, pool: { lv: 'pool', dataPercent, metadataPercent } });
}

describe('the check of room', () => {
  it('says nothing of what is not known', () => {
    expect(checkRoom({})).toEqual([]);
    expect(checkRoom({ lvm: { vg: 'vg', lv: 'srv' } })).toEqual([]);
  });

  it('warns where snapshots share a filesystem that is almost full', () => {
    const shared = { mountpoint: '/images', totalBytes: 100 * GIB };
    expect(statuses({ shared: { ...shared, freeBytes: 6 * GIB } })).toEqual(['ok']);
    expect(statuses({ shared: { ...shared, freeBytes: 4 * GIB } })).toEqual(['warning']);
  });

  it('looks at the volume group of a classic volume', () => {
    expect(statuses(lvm())).toEqual(['ok']);
    expect(statuses(lvm({ vgFreeBytes: 4 * GIB }))).toEqual(['warning']);
    expect(checkRoom(lvm({ vgFreeBytes: 0 }))).toMatchObject([
      { status: 'problem', fix: 'vgextend vg DEVICE' },
    ]);
  });

  it('looks at data and metadata of the pool of a thin volume, and not at its group', () => {
    expect(statuses(pool(50, 10))).toEqual(['ok', 'ok']);
    expect(statuses(pool(80, 94.9))).toEqual(['warning', 'warning']);
    expect(statuses(pool(95, 100))).toEqual(['problem', 'problem']);
    expect(statuses(pool(undefined, undefined))).toEqual(['warning']);
    expect(checkRoom(pool(96, 1))[0]?.fix).toBe('lvextend --size +20%LV vg/pool');
  });

  it('looks at the health of a ZFS pool', () => {
    const zfs = { name: 'tank', capacityPercent: 10 };
    expect(statuses({ pool: { ...zfs, health: 'ONLINE' } })).toEqual(['ok', 'ok']);
    expect(statuses({ pool: { ...zfs, health: 'DEGRADED' } })).toEqual(['warning', 'ok']);
    expect(statuses({ pool: { ...zfs, capacityPercent: 97, health: 'SUSPENDED' } })).toEqual([
      'problem',
      'problem',
    ]);
  });
});
