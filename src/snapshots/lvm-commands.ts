import { createHash } from 'node:crypto';
import type { Argv } from './command-line.js';
import type { SnapshotRef } from './provider.js';

/**
 * Nothing of LVM's may write to what is frozen: no backup or archive of metadata in /etc/lvm, no log, no syslog (but
 * what lvm.conf has it log is begun before this is read, see decision 9). And dmeventd is left out, which would have a say
 * in how a snapshot grows.
 */
export const QUIET =
  'backup{backup=0 archive=0} log{syslog=0 level=0 file="/dev/null"} activation{monitoring=0}';
/** The longest name that device-mapper takes (DM_NAME_LEN less its end). */
const MAX_DM_NAME = 127;
/** LVM keeps these for its own volumes. */
const RESERVED =
  /_(?:cdata|cmeta|corig|cpool|cvol|imeta|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig)|^(?:snapshot|pvmove)/;

/** What a ref's data holds. */
export interface LvmData {
  kind: 'thin' | 'classic';
  vg: string;
  /** The origin. */
  lv: string;
  originUuid: string;
  /** The snapshot's own name, in the same volume group. */
  snapshot: string;
  /** Of a classic snapshot. */
  sizeBytes: string;
  /** What the mountpoint showed of the filesystem. */
  root: string;
  /** `yes` when the origin is held frozen by us around it. */
  isHeld: 'yes' | 'no';
  extend: 'yes' | 'no';
  /** What lies between it and the filesystem, the lowest first: JSON of `Layer`s. */
  layers: string;
  /** Of a LUKS container among them; empty without one. */
  keyFile: string;
  poolThresholdPercent: string;
  /** The tags, beside that of the name, with commas between. */
  tags: string;
}

/** Those of a ref that `prepare` made. */
export function lvmDataOf(ref: SnapshotRef): LvmData {
  const { data } = ref;
  const text = (key: keyof LvmData): string => {
    const value = data[key];
    if (value === undefined) throw new Error(`the snapshot ${ref.name} has no ${key} in its data`);
    return value;
  };
  return {
    kind: text('kind') === 'thin' ? 'thin' : 'classic',
    vg: text('vg'),
    lv: text('lv'),
    originUuid: text('originUuid'),
    snapshot: text('snapshot'),
    sizeBytes: text('sizeBytes'),
    root: text('root'),
    isHeld: text('isHeld') === 'yes' ? 'yes' : 'no',
    extend: text('extend') === 'yes' ? 'yes' : 'no',
    layers: text('layers'),
    keyFile: text('keyFile'),
    poolThresholdPercent: text('poolThresholdPercent'),
    tags: text('tags'),
  };
}

/** A tag with this value, with what LVM allows in tags. */
export function tagOf(key: string, value: string): string {
  return `fsbackup.${key}=${value.replaceAll(/[^\w+.\-/=!:&#]/g, '_')}`;
}

/** The tag that proves a volume to be that snapshot. */
export function nameTag(ref: Pick<SnapshotRef, 'name'>): string {
  return tagOf('name', ref.name);
}

/** The volume's name for the snapshot `name`: the same where LVM and device-mapper take it. */
export function volumeName(vg: string, name: string): string {
  const escaped = (text: string): string => text.replaceAll('-', '--');
  const longest = `${escaped(vg)}-${escaped(name)}-cow`;
  if (longest.length <= MAX_DM_NAME && /^[A-Za-z0-9_+.][\w+.-]*$/.test(name) && !RESERVED.test(name))
    return name;
  return `fsbackup-${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;
}

/** `/dev/mapper/VG-LV`: there also where no udev makes links. */
export function devicePath(vg: string, lv: string): string {
  return `/dev/mapper/${vg.replaceAll('-', '--')}-${lv.replaceAll('-', '--')}`;
}

function tagArguments(ref: SnapshotRef): string[] {
  const tags = [
    nameTag(ref),
    ...lvmDataOf(ref)
      .tags.split(',')
      .filter((tag) => tag !== ''),
  ];
  return tags.flatMap((tag) => ['--addtag', tag]);
}

const CREATE = ['--yes', '--autobackup', 'n', '--config', QUIET] as const;

/**
 * What is run before the freeze for a snapshot that is taken in it: a classic one's room, made, cleared and switched
 * off, so that in the freeze only its tables change.
 */
export function makeRoomCommands(ref: SnapshotRef): Argv[] {
  const { kind, vg, snapshot, sizeBytes, isHeld } = lvmDataOf(ref);
  if (kind === 'thin' || isHeld === 'no') return [];
  const size = ['--size', `${sizeBytes}b`, '--wipesignatures', 'y', '--zero', 'y'];
  return [
    ['lvcreate', ...CREATE, ...size, '--name', snapshot, ...tagArguments(ref), '--', vg],
    ['lvchange', '--config', QUIET, '--activate', 'n', '--', `${vg}/${snapshot}`],
  ];
}

/** What makes the snapshot. */
export function createCommand(ref: SnapshotRef): Argv {
  const { kind, vg, lv, snapshot, sizeBytes, isHeld } = lvmDataOf(ref);
  const origin = `${vg}/${lv}`;
  const named = ['--permission', 'r', '--name', snapshot, ...tagArguments(ref), '--', origin];
  if (kind === 'thin') {
    return ['lvcreate', ...CREATE, '--snapshot', '--setactivationskip', 'y', ...named];
  }
  if (isHeld === 'no') return ['lvcreate', ...CREATE, '--snapshot', '--size', `${sizeBytes}b`, ...named];
  return [
    'lvconvert',
    '--yes',
    '--config',
    QUIET,
    '--snapshot',
    '--zero',
    'n',
    '--',
    origin,
    `${vg}/${snapshot}`,
  ];
}

/** Thin snapshots are marked to be skipped on activation. */
export function activateCommand({ vg, snapshot }: LvmData): Argv {
  const how = ['--activate', 'y', '--ignoreactivationskip'];
  return ['lvchange', '--config', QUIET, ...how, '--', `${vg}/${snapshot}`];
}

/** A snapshot that is kept between runs: inactive, which a thin one can be without its origin, and tagged. */
export function keepCommands(vg: string, snapshot: string): Argv[] {
  const volume = `${vg}/${snapshot}`;
  return [
    ['lvchange', '--config', QUIET, '--addtag', tagOf('kept', 'base'), '--', volume],
    ['lvchange', '--config', QUIET, '--activate', 'n', '--', volume],
  ];
}

export function extendCommand({ vg, snapshot }: LvmData, byBytes: number): Argv {
  return ['lvextend', ...CREATE, '--size', `+${byBytes}b`, '--', `${vg}/${snapshot}`];
}

/** `pastPool`: also when the pool does not do what it was told before. */
export function removeCommand(vg: string, lv: string, { pastPool = false } = {}): Argv {
  return ['lvremove', '--force', ...(pastPool ? ['--force'] : []), ...CREATE, '--', `${vg}/${lv}`];
}

/** Loads the tables of a volume anew, as its metadata have them. */
export function refreshCommand(vg: string, lv: string): Argv {
  return ['lvchange', '--config', QUIET, '--refresh', '--', `${vg}/${lv}`];
}
