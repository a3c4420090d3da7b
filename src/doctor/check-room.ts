import { formatBytes } from '../report/format.js';
import { ok, problem, warning, type Finding } from './finding.js';
import { shellWord } from '../system/command-line.js';

/** Free and total bytes of a filesystem. */
export interface Space {
  freeBytes: number;
  totalBytes: number;
}

/** What is known of a logical volume's room; what is absent is not asked about. */
export interface LvmRoom {
  vg: string;
  lv: string;
  sizeBytes?: number;
  vgFreeBytes?: number;
  pool?: { lv: string; dataPercent: number | undefined; metadataPercent: number | undefined } | undefined;
}

/** A ZFS pool, as `zpool list` tells of it. */
export interface PoolState {
  name: string;
  capacityPercent: number;
  health: string;
}

/** Where a snapshot takes its room from. */
export interface RoomFacts {
  /** The filesystem that copy-on-write snapshots share with the live data: btrfs, or the one that holds the image. */
  shared?: Space & { mountpoint: string };
  lvm?: LvmRoom;
  pool?: PoolState;
}

const LOW_SHARE = 0.05;
/** A thin pool that fills up stalls or fails every volume in it. */
const POOL_WARNING_PERCENT = 80;
const POOL_PROBLEM_PERCENT = 95;
/** A snapshot holds what is overwritten while it is copied: less than this is soon full. */
const SNAPSHOT_SHARE = 0.05;

function checkShared({ mountpoint, freeBytes, totalBytes }: NonNullable<RoomFacts['shared']>): Finding {
  const summary = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free on ${mountpoint}`;
  if (freeBytes >= totalBytes * LOW_SHARE) return ok('room', summary);
  return warning('room', summary, {
    detail: 'While a snapshot exists, each block that is overwritten needs a new one there.',
  });
}

function checkPercent(what: string, percent: number, fix: string): Finding {
  const summary = `${what} is ${percent.toFixed(1)} % full`;
  if (percent < POOL_WARNING_PERCENT) return ok('room', summary);
  return (percent < POOL_PROBLEM_PERCENT ? warning : problem)('room', summary, {
    detail: 'When it is full, every volume in it stalls or fails.',
    fix,
  });
}

function checkThinPool(
  vg: string,
  { lv, dataPercent, metadataPercent }: NonNullable<LvmRoom['pool']>,
): Finding[] {
  const pool = `${vg}/${lv}`;
  if (dataPercent === undefined || metadataPercent === undefined) {
    return [warning('room', `how full the thin pool ${pool} is cannot be told`, { fix: `lvs ${pool}` })];
  }
  return [
    checkPercent(`the thin pool ${pool}`, dataPercent, `lvextend --size +20%LV ${pool}`),
    checkPercent(
      `the metadata of the thin pool ${pool}`,
      metadataPercent,
      `lvextend --poolmetadatasize +20%LV ${pool}`,
    ),
  ];
}

function checkLvm({ vg, lv, sizeBytes, vgFreeBytes, pool }: LvmRoom): Finding[] {
  if (pool !== undefined) return checkThinPool(vg, pool);
  if (vgFreeBytes === undefined) return [];
  const summary = `${formatBytes(vgFreeBytes)} free in volume group ${vg} for a snapshot of ${lv}`;
  const fix = `vgextend ${vg} DEVICE`;
  if (vgFreeBytes === 0)
    return [problem('room', `nothing is free in volume group ${vg} for a snapshot of ${lv}`, { fix })];
  if (vgFreeBytes >= (sizeBytes ?? 0) * SNAPSHOT_SHARE) return [ok('room', summary)];
  return [
    warning('room', summary, {
      detail: 'It overflows, and is lost, when more than that is overwritten during the copy.',
      fix,
    }),
  ];
}

function checkPool({ name, capacityPercent, health }: PoolState): Finding[] {
  const full = checkPercent(`the pool ${name}`, capacityPercent, `zpool list ${shellWord(name)}`);
  if (health === 'ONLINE') return [ok('pool-health', `the pool ${name} is online`), full];
  const worse = health === 'DEGRADED' ? warning : problem;
  return [
    worse('pool-health', `the pool ${name} is ${health}`, { fix: `zpool status ${shellWord(name)}` }),
    full,
  ];
}

/** Whether there is room for the snapshot that a run would take. Pure; what is absent from the facts is not judged. */
export function checkRoom({ shared, lvm, pool }: RoomFacts): Finding[] {
  return [
    ...(shared === undefined ? [] : [checkShared(shared)]),
    ...(lvm === undefined ? [] : checkLvm(lvm)),
    ...(pool === undefined ? [] : checkPool(pool)),
  ];
}
