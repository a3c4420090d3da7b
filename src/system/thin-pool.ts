import * as z from 'zod';
import { describeFailure, runCommand } from './run-command.js';

/** A thin volume, as `lvs` tells of it: what it is known by in LVM and in its pool. */
export interface ThinVolume {
  lv: string;
  uuid: string;
  /** Of device-mapper, in the pool. */
  thinId: number;
  pool: string;
  poolUuid: string;
  isReadOnly: boolean;
}

/** Blocks that differ between two thin volumes, in bytes of the volume. */
export interface ThinDelta {
  /** What the second one has, and the first has otherwise or not at all. */
  changed: { offset: number; length: number }[];
  /** What only the first one has: it reads as zeros in the second. */
  dropped: { offset: number; length: number }[];
}

const TIMEOUT_MS = 60_000;
const DELTA_TIMEOUT_MS = 600_000;
const SECTOR = 512;
const FIELDS = 'lv_name,lv_uuid,thin_id,pool_lv,pool_lv_uuid,lv_permissions';

const reportSchema = z.object({
  report: z.array(z.object({ lv: z.array(z.record(z.string(), z.string())).optional() })),
});

/** Parses `lvs --reportformat json` of these fields: thin volumes alone. Pure. Throws for anything else. */
export function parseThinVolumes(output: string): ThinVolume[] {
  const rows = reportSchema.parse(JSON.parse(output)).report.flatMap(({ lv }) => lv ?? []);
  return rows.flatMap((row) => {
    const { lv_name: lv = '', lv_uuid: uuid = '', thin_id: id = '', pool_lv: pool = '' } = row;
    if (id === '' || pool === '') return [];
    const isReadOnly = row['lv_permissions'] === 'read-only';
    return [{ lv, uuid, thinId: Number(id), pool, poolUuid: row['pool_lv_uuid'] ?? '', isReadOnly }];
  });
}

/** The thin volumes of a group; undefined when LVM cannot tell. */
export async function readThinVolumes(vg: string): Promise<ThinVolume[] | undefined> {
  const format = ['--reportformat', 'json', '--options', FIELDS] as const;
  const result = await runCommand(['lvs', '--all', ...format, '--', vg], { timeoutMs: TIMEOUT_MS });
  return result.exitCode === 0 ? parseThinVolumes(result.stdout) : undefined;
}

function dmName(vg: string, lv: string): string {
  return `${vg.replaceAll('-', '--')}-${lv.replaceAll('-', '--')}`;
}

/** The device of a pool that takes messages. */
export function poolDevice(vg: string, pool: string): string {
  return `${dmName(vg, pool)}-tpool`;
}

async function must(argv: readonly [string, ...string[]], timeoutMs = TIMEOUT_MS): Promise<string> {
  const result = await runCommand(argv, { timeoutMs });
  if (result.exitCode !== 0) throw new Error(describeFailure(argv[0], result));
  return result.stdout;
}

/** Makes the pool keep its metadata as they are, to be read. Rejects also when somebody else has it do so. */
export async function reserveMetadata(device: string): Promise<void> {
  await must(['dmsetup', 'message', device, '0', 'reserve_metadata_snap']);
}

/**
 * The block of the kept metadata in `dmsetup status` of a pool (its sixth field, `-` for none). Pure; undefined when
 * there are none.
 */
export function parseHeldRoot(status: string): string | undefined {
  // Documentation/admin-guide/device-mapper/thin-provisioning.rst: transaction id, used/total metadata blocks,
  // used/total data blocks, held metadata root.
  const held = /\bthin-pool \d+ \d+\/\d+ \d+\/\d+ (\S+)/.exec(status)?.[1];
  return held === '-' ? undefined : held;
}

/** Whether a pool keeps its metadata for somebody. Rejects when that cannot be told. */
export async function hasReservedMetadata(device: string): Promise<boolean> {
  return parseHeldRoot(await must(['dmsetup', 'status', device])) !== undefined;
}

/** Undoes `reserveMetadata`. Idempotent: also where nothing is kept, and where the pool is not active. */
export async function releaseMetadata(device: string): Promise<void> {
  const status = await runCommand(['dmsetup', 'status', device], { timeoutMs: TIMEOUT_MS });
  if (status.exitCode !== 0 && /does not exist/.test(status.stderr)) return;
  if (status.exitCode === 0 && parseHeldRoot(status.stdout) === undefined) return;
  await must(['dmsetup', 'message', device, '0', 'release_metadata_snap']);
}

/** Parses what thin_delta prints. Pure. Throws for anything else. */
export function parseThinDelta(output: string): ThinDelta {
  const sectors = /<superblock\b[^>]*\bdata_block_size="(\d+)"/.exec(output)?.[1];
  if (sectors === undefined || !/<\/diff>/.test(output)) throw new Error('thin_delta printed no differences');
  const blockBytes = Number(sectors) * SECTOR;
  const delta: ThinDelta = { changed: [], dropped: [] };
  for (const [, kind, attributes = ''] of output.matchAll(/<(different|left_only|right_only)\b([^>]*)>/g)) {
    const [begin, length] = ['begin', 'length'].map((name) =>
      Number(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes)?.[1]),
    );
    if (begin === undefined || length === undefined || !(begin >= 0) || !(length > 0))
      throw new Error(`thin_delta printed a range that is none: ${attributes}`);
    const extent = { offset: begin * blockBytes, length: length * blockBytes };
    (kind === 'left_only' ? delta.dropped : delta.changed).push(extent);
  }
  return delta;
}

/** What differs between two thin volumes of a pool whose metadata are kept. `range`s are as long as they are in it. */
export async function readThinDelta(
  { vg, pool }: { vg: string; pool: string },
  first: number,
  second: number,
): Promise<ThinDelta> {
  const metadata = `/dev/mapper/${dmName(vg, pool)}_tmeta`;
  const ids = ['--snap1', String(first), '--snap2', String(second)];
  const lines: string[] = [];
  const argv = ['thin_delta', '-m', ...ids, metadata] as const;
  // By lines: what a command prints is kept up to a bound only.
  const result = await runCommand(argv, {
    timeoutMs: DELTA_TIMEOUT_MS,
    onStdoutLine: (line) => void (/<same\b/.test(line) || lines.push(line)),
  });
  if (result.exitCode !== 0) throw new Error(describeFailure('thin_delta', result));
  return parseThinDelta(lines.join('\n'));
}

/** The blocks that a thin volume has, of a pool whose metadata are kept; in bytes of the volume. */
export async function readThinMappings(
  { vg, pool }: { vg: string; pool: string },
  thinId: number,
): Promise<{ offset: number; length: number }[]> {
  const metadata = `/dev/mapper/${dmName(vg, pool)}_tmeta`;
  let blockBytes = 0;
  const extents: { offset: number; length: number }[] = [];
  const result = await runCommand(['thin_dump', '-m', '--dev-id', String(thinId), metadata], {
    timeoutMs: DELTA_TIMEOUT_MS,
    onStdoutLine: (line) => {
      const sectors = /\bdata_block_size="(\d+)"/.exec(line)?.[1];
      if (sectors !== undefined) blockBytes = Number(sectors) * SECTOR;
      const block = /<single_mapping\b.*\borigin_block="(\d+)"/.exec(line)?.[1];
      if (block !== undefined) extents.push({ offset: Number(block), length: 1 });
      const range = /<range_mapping\b.*\borigin_begin="(\d+)".*\blength="(\d+)"/.exec(line);
      if (range !== null) extents.push({ offset: Number(range[1]), length: Number(range[2]) });
    },
  });
  if (result.exitCode !== 0) throw new Error(describeFailure('thin_dump', result));
  if (blockBytes === 0) throw new Error('thin_dump does not tell the size of its blocks');
  return extents.map(({ offset, length }) => ({ offset: offset * blockBytes, length: length * blockBytes }));
}

/** What a pool itself knows a thin volume by, beside its id: no two ever have all of it in common. */
export async function readThinBirth(
  { vg, pool }: { vg: string; pool: string },
  thinId: number,
): Promise<string | undefined> {
  const metadata = `/dev/mapper/${dmName(vg, pool)}_tmeta`;
  const argv = [
    'thin_ls',
    '-m',
    '--no-headers',
    '--format',
    'DEV,TRANSACTION,CREATE_TIME',
    metadata,
  ] as const;
  const rows = (await must(argv, DELTA_TIMEOUT_MS)).split('\n').map((line) => line.trim().split(/\s+/));
  const [, transaction, time] = rows.find(([id]) => id === String(thinId)) ?? [];
  return transaction === undefined || time === undefined ? undefined : `${transaction} ${time}`;
}
