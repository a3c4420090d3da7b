import * as z from 'zod';
import { FsbackupError } from '../errors.js';
import { describeFailure, runCommand } from './run-command.js';

/** One half (or third) of a mirrored logical volume. */
export interface MirrorImage {
  /** `srv_rimage_1` */
  lv: string;
  physicalVolumes: readonly string[];
  /** Split off: visible, readable at /dev/VG/LV, and its changes tracked for the merge. */
  isSplit: boolean;
}

/** A raid1 volume of LVM. */
export interface Mirror {
  vg: string;
  lv: string;
  isRaid1: boolean;
  /** From 0 to 100; undefined where the volume is not active. */
  syncPercent: number | undefined;
  /** `idle`, `resync`, `recover`, … */
  syncAction: string;
  /** Empty when all is well; `partial`, `refresh needed`, `mismatches exist`, … (lvs(8), `lv_health_status`). */
  health: string;
  images: readonly MirrorImage[];
}

const FIELDS = [
  'lv_name',
  'lv_layout',
  'lv_role',
  'devices',
  'sync_percent',
  'raid_sync_action',
  'lv_health_status',
] as const;
const TIMEOUT_MS = 60_000;

const report = z.object({
  report: z.array(z.object({ lv: z.array(z.record(z.enum(FIELDS), z.string())) })),
});

/** `/dev/sdb(1)`: a device and the extent where a segment begins there. */
function physicalVolumesOf(devices: string): string[] {
  return devices.split(',').map((device) => device.replace(/\(\d+\)$/, ''));
}

/** The mirror `vg/lv` in the output of `lvs --all --reportformat json`; undefined when it is not in it. Pure. */
export function parseMirror(output: string, vg: string, lv: string): Mirror | undefined {
  const rows = report.parse(JSON.parse(output)).report.flatMap((part) => part.lv);
  const whole = rows.find((row) => row.lv_name === lv);
  if (whole === undefined) return undefined;
  const images = new Map<string, MirrorImage>();
  for (const { lv_name: shown, lv_role: role, devices } of rows) {
    // Internal volumes come in brackets, a row for each of their segments.
    const name = shown.replace(/^\[(.*)\]$/, '$1');
    if (!role.split(',').includes('image') || !/^_rimage_\d+$/.test(name.slice(lv.length))) continue;
    if (!name.startsWith(lv)) continue;
    const known = images.get(name)?.physicalVolumes ?? [];
    const physicalVolumes = [...new Set([...known, ...physicalVolumesOf(devices)])];
    images.set(name, { lv: name, physicalVolumes, isSplit: name === shown });
  }
  return {
    vg,
    lv,
    isRaid1: whole.lv_layout.split(',').includes('raid1'),
    syncPercent: whole.sync_percent === '' ? undefined : Number(whole.sync_percent),
    syncAction: whole.raid_sync_action,
    health: whole.lv_health_status,
    images: [...images.values()],
  };
}

/**
 * The mirror `vg/lv` as it is now; undefined when the volume group has no such volume. Rejects with `snapshotFailed`
 * when LVM cannot tell, as for a volume group that is not there.
 */
export async function readMirror(vg: string, lv: string): Promise<Mirror | undefined> {
  const result = await runCommand(
    ['lvs', '--all', '--reportformat', 'json', '--options', FIELDS.join(','), '--', vg],
    { timeoutMs: TIMEOUT_MS },
  );
  if (result.exitCode === 0) return parseMirror(result.stdout, vg, lv);
  throw new FsbackupError(
    'snapshotFailed',
    `The mirror ${vg}/${lv} cannot be looked at: ${describeFailure('lvs', result)}`,
    { hint: `Install lvm2 if it is missing, and see what \`lvs -a ${vg}\` says.` },
  );
}
