import { describe, expect, it } from 'vitest';
import {
  activateCommand,
  createCommand,
  devicePath,
  extendCommand,
  keepCommands,
  lvmDataOf,
  makeRoomCommands,
  nameTag,
  QUIET,
  refreshCommand,
  removeCommand,
  tagOf,
  volumeName,
  type LvmData,
} from '../../../src/snapshots/lvm-commands.js';
import { mergeCommand, splitCommand } from '../../../src/snapshots/mirror-provider.js';
import type { SnapshotRef } from '../../../src/snapshots/provider.js';

function aRef(data: Partial<LvmData> = {}): SnapshotRef {
  const all: LvmData = {
    kind: 'classic',
    vg: 'da-ta',
    lv: 's.r+v',
    originUuid: 'uuid',
    snapshot: 'fsbackup-srv-1-0',
    sizeBytes: '8388608',
    root: '/',
    isHeld: 'no',
    extend: 'no',
    layers: '[]',
    keyFile: '',
    poolThresholdPercent: '90',
    tags: 'fsbackup.run=1,fsbackup.host=h',
    ...data,
  };
  return {
    provider: 'lvm',
    name: 'fsbackup-srv-1-0',
    mountpoint: '/srv',
    fstype: 'ext4',
    takenFrozen: true,
    data: { ...all },
  };
}

const HALF: SnapshotRef = {
  provider: 'mirror',
  name: 'fsbackup-srv-1-0',
  mountpoint: '/srv',
  fstype: 'ext4',
  takenFrozen: true,
  data: { vg: 'data', lv: 'srv', image: 'srv_rimage_1', physicalVolumes: '["/dev/sdb"]', root: '/' },
};

describe('the name of the snapshot volume', () => {
  it('is the snapshot’s own where device-mapper takes it', () => {
    expect(volumeName('data', 'fsbackup-srv-20261123T184500Z-1a2b3c-0')).toBe(
      'fsbackup-srv-20261123T184500Z-1a2b3c-0',
    );
  });

  it.each([
    ['too long once its hyphens are doubled', 'data', `fsbackup-${'a-'.repeat(40)}`],
    ['too long with its group', 'd'.repeat(110), 'fsbackup-srv-1-0'],
    ['one that LVM keeps for itself', 'data', 'fsbackup-my_tdata-1-0'],
  ])('is short and its own for %s', (_what, vg, name) => {
    const short = volumeName(vg, name);
    expect(short).toMatch(/^fsbackup-[0-9a-f]{24}$/);
    expect(volumeName(vg, name)).toBe(short);
    expect(volumeName(vg, `${name}1`)).not.toBe(short);
  });
});

describe('tags', () => {
  it('hold what LVM allows alone', () => {
    expect(tagOf('host', 'a b@c,d')).toBe('fsbackup.host=a_b_c_d');
    expect(nameTag(aRef())).toBe('fsbackup.name=fsbackup-srv-1-0');
  });
});

describe('the commands', () => {
  it.each([
    ['make a classic snapshot', createCommand(aRef())],
    ['make a thin one', createCommand(aRef({ kind: 'thin' }))],
    ['join a classic one to its origin', createCommand(aRef({ isHeld: 'yes' }))],
    ...makeRoomCommands(aRef({ isHeld: 'yes' })).map((argv) => ['make its room', argv] as const),
    ['activate it', activateCommand(lvmDataOf(aRef({ kind: 'thin' })))],
    ...keepCommands('data', 'srv').map((argv) => ['keep it', argv] as const),
    ['extend it', extendCommand(lvmDataOf(aRef()), 4096)],
    ['remove it', removeCommand('data', 'srv')],
    ['remove it past its pool', removeCommand('data', 'srv', { pastPool: true })],
    ['load its tables anew', refreshCommand('data', 'srv')],
    ['split a mirror', splitCommand(HALF)],
    ['merge it', mergeCommand(HALF)],
  ] as const)('that %s write to no file of LVM’s, and to no log', (_what, argv) => {
    expect(argv[argv.indexOf('--config') + 1]).toBe(QUIET);
    // Behind it there are names alone.
    expect(argv.indexOf('--config')).toBeLessThan(argv.indexOf('--'));
  });

  it('mean by that the archive, the backup, the log, syslog and dmeventd', () => {
    expect(QUIET.split('} ').map((section) => section.replace(/}$/, ''))).toEqual([
      'backup{backup=0 archive=0',
      'log{syslog=0 level=0 file="/dev/null"',
      'activation{monitoring=0',
    ]);
  });

  it('carry every tag', () => {
    for (const argv of [createCommand(aRef()), createCommand(aRef({ kind: 'thin' }))]) {
      expect(argv.join(' ')).toContain(
        '--addtag fsbackup.name=fsbackup-srv-1-0 --addtag fsbackup.run=1 --addtag fsbackup.host=h -- da-ta/s.r+v',
      );
      expect(argv).toContain('--autobackup');
    }
  });

  it('give a thin snapshot no size', () => {
    expect(createCommand(aRef())).toContain('8388608b');
    expect(createCommand(aRef({ kind: 'thin', sizeBytes: '0' }))).not.toContain('--size');
  });

  it('make the room of a classic one before a freeze of ours, and only then', () => {
    const held = aRef({ isHeld: 'yes' });
    expect(makeRoomCommands(aRef())).toEqual([]);
    expect(makeRoomCommands(aRef({ kind: 'thin', isHeld: 'yes' }))).toEqual([]);
    expect(makeRoomCommands(held).map(([program]) => program)).toEqual(['lvcreate', 'lvchange']);
    expect(makeRoomCommands(held)[0]).toContain('fsbackup.name=fsbackup-srv-1-0');
    expect(createCommand(held).slice(-2)).toEqual(['da-ta/s.r+v', 'da-ta/fsbackup-srv-1-0']);
    expect(createCommand(held)[0]).toBe('lvconvert');
  });

  it('find the device of a name with hyphens', () => {
    expect(devicePath('da-ta', 's-r.v')).toBe('/dev/mapper/da--ta-s--r.v');
  });
});
