import * as z from 'zod';
import type { BlockStack } from './block-stack.js';
import { describeFailure, runCommand, type CommandResult } from './run-command.js';

/** The pool of a thin volume. */
export interface ThinPool {
  lv: string;
  /** Filled, in percent; undefined where the pool is not active. */
  dataPercent: number | undefined;
  metadataPercent: number | undefined;
  /** What writers get when it is full: they wait (`queue`), or fail (`error`). */
  whenFull: string;
}

/** A logical volume of LVM, as `lvs` tells of it. Sizes in bytes, percentages from 0 to 100. */
export interface LogicalVolume {
  vg: string;
  lv: string;
  uuid: string;
  /** `major:minor` of its device-mapper device; undefined for one that is not active. */
  majorMinor: string | undefined;
  /** Of `lvs -o lv_layout`: `linear`, `striped`, `raid`, `raid1`, `thin`, `cache`, `sparse`, … */
  layout: readonly string[];
  /** Of `lvs -o lv_role`: `public` or `private`, `origin`, `snapshot`, `thinsnapshot`, … */
  role: readonly string[];
  sizeBytes: number;
  /** What it is a snapshot of. */
  origin: string | undefined;
  pool: ThinPool | undefined;
  /** Of a classic snapshot: how much of its room is used. Of a thin volume: how much of it is written. */
  dataPercent: number | undefined;
  /** A classic snapshot that overflowed. */
  isInvalid: boolean;
  /** Of mirrors and RAID: how much of it is in sync. */
  syncPercent: number | undefined;
  tags: readonly string[];
  vgFreeBytes: number;
  vgExtentBytes: number;
}

/** The logical volume under a filesystem. */
export interface LogicalVolumeBelow extends LogicalVolume {
  majorMinor: string;
  /** The devices between it and the filesystem, the topmost first, as LUKS or a partition; none: it lies straight on it. */
  above: readonly string[];
}

const LVS_TIMEOUT_MS = 30_000;
const FIELDS = [
  'vg_name',
  'lv_name',
  'lv_uuid',
  'lv_layout',
  'lv_role',
  'lv_kernel_major',
  'lv_kernel_minor',
  'lv_size',
  'origin',
  'pool_lv',
  'lv_when_full',
  'data_percent',
  'metadata_percent',
  'lv_snapshot_invalid',
  'sync_percent',
  'lv_tags',
  'vg_free',
  'vg_extent_size',
];

const rowSchema = z.object(Object.fromEntries(FIELDS.map((field) => [field, z.string()])));
const reportSchema = z.object({ report: z.array(z.object({ lv: z.array(rowSchema).optional() })) });

/** A percentage; undefined for one that lvs does not know, however it says so. */
function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,3}(?:\.\d+)?$/.test(text) ? Number(text) : undefined;
}

/** Throws for what is no number: a size that compares with nothing would let everything pass. */
function bytesOf(text: string | undefined): number {
  if (text === undefined || !/^\d{0,20}$/.test(text)) throw new Error(`not a size: ${text}`);
  return Number(text);
}

/** -1 for a volume that is not active. */
function deviceOf(major = '', minor = ''): string | undefined {
  return /^\d+$/.test(major) && /^\d+$/.test(minor) ? `${major}:${minor}` : undefined;
}

function wordsOf(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(',');
}

/** Names of internal volumes come in brackets. */
function bare(name: string): string {
  return name.replace(/^\[(.*)\]$/, '$1');
}

function volumeOf(row: Record<string, string>, rows: readonly Record<string, string>[]): LogicalVolume {
  const { vg_name: vg = '', lv_name: lv = '', lv_kernel_major: major, lv_kernel_minor: minor } = row;
  const poolName = bare(row['pool_lv'] ?? '');
  const isThin = wordsOf(row['lv_layout']).includes('thin');
  const pool = rows.find((other) => other['vg_name'] === vg && bare(other['lv_name'] ?? '') === poolName);
  return {
    vg,
    lv: bare(lv),
    uuid: row['lv_uuid'] ?? '',
    majorMinor: deviceOf(major, minor),
    layout: wordsOf(row['lv_layout']),
    role: wordsOf(row['lv_role']),
    sizeBytes: bytesOf(row['lv_size']),
    origin: row['origin'] === '' ? undefined : bare(row['origin'] ?? ''),
    pool:
      isThin && poolName !== ''
        ? {
            lv: poolName,
            dataPercent: numberOf(pool?.['data_percent']),
            metadataPercent: numberOf(pool?.['metadata_percent']),
            whenFull: pool?.['lv_when_full'] ?? '',
          }
        : undefined,
    dataPercent: numberOf(row['data_percent']),
    // `unknown` for everything that is no active classic snapshot.
    isInvalid: row['lv_snapshot_invalid'] === 'snapshot invalid',
    syncPercent: numberOf(row['sync_percent']),
    tags: wordsOf(row['lv_tags']),
    vgFreeBytes: bytesOf(row['vg_free']),
    vgExtentBytes: bytesOf(row['vg_extent_size']),
  };
}

/** The output of `lvs --reportformat json` with our fields. Pure. Throws for anything else. */
export function parseLvs(output: string): LogicalVolume[] {
  const rows = reportSchema.parse(JSON.parse(output)).report.flatMap(({ lv }) => lv ?? []);
  return rows.map((row) => volumeOf(row, rows));
}

/** What `lvs` told, or why it could not. */
export type VolumesRead = { volumes: readonly LogicalVolume[]; problem?: string } | { problem: string };

function readResult(result: CommandResult): VolumesRead {
  if (result.notFound) return { problem: 'lvm2 is not installed, so its volume cannot be found' };
  // One volume group that lacks a disk gives a failure and the truth about all others.
  const problem = result.exitCode === 0 ? {} : { problem: describeFailure('lvs', result) };
  try {
    return { volumes: parseLvs(result.stdout), ...problem };
  } catch {
    return { problem: problem.problem ?? 'what lvs reports is not understood' };
  }
}

/**
 * All logical volumes of this host, internal ones too, or those of `names` (`VG/LV`, or `VG` for all of one); by one
 * call of `lvs`. Never rejects.
 */
export async function readLogicalVolumes(names: readonly string[] = []): Promise<VolumesRead> {
  const format = ['--reportformat', 'json', '--units', 'b', '--nosuffix', '--options', FIELDS.join(',')];
  return readResult(
    await runCommand(['lvs', '--all', ...format, '--', ...names], { timeoutMs: LVS_TIMEOUT_MS }),
  );
}

/** Whether a device of the stack is LVM's. */
export function liesOnLvm(stack: BlockStack | undefined): boolean {
  return stack?.some(({ dmUuid }) => dmUuid?.startsWith('LVM-') === true) === true;
}

/** The topmost logical volume in a stack; undefined where none of `volumes` is in it. Pure. */
export function findLogicalVolume(
  stack: BlockStack,
  volumes: readonly LogicalVolume[],
): LogicalVolumeBelow | undefined {
  for (const [index, { majorMinor, dmUuid }] of stack.entries()) {
    if (dmUuid?.startsWith('LVM-') !== true) continue;
    const found = volumes.find(
      (volume) => volume.majorMinor === majorMinor && !volume.role.includes('private'),
    );
    if (found === undefined) continue;
    return { ...found, majorMinor, above: stack.slice(0, index).map((device) => device.majorMinor) };
  }
  return undefined;
}

/** What is known of the volume under a filesystem. */
export interface LvmFacts {
  lvm?: LogicalVolumeBelow;
  /** Why it is not known although there must be one: a clause. */
  lvmProblem?: string;
}

/** The logical volume under a stack, with `read` asked only when the stack has a device of LVM's. */
export async function locateLogicalVolume(
  stack: BlockStack | undefined,
  read: () => Promise<VolumesRead>,
): Promise<LvmFacts> {
  if (stack === undefined || !liesOnLvm(stack)) return {};
  const found = await read();
  const lvm = 'volumes' in found ? findLogicalVolume(stack, found.volumes) : undefined;
  if (lvm !== undefined) return { lvm };
  return { lvmProblem: found.problem ?? 'lvs does not know its logical volume' };
}
