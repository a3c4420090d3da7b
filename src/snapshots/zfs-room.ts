import { FsbackupError } from '../errors.js';
import { describeZfsFailure, parseRows, poolOf, readPool, refusePool, runZfs } from '../system/zfs.js';
import { shellWord } from '../system/command-line.js';

/** In the pool as a whole: a snapshot needs little, what is overwritten while it exists needs new blocks. */
const MIN_ROOM_BYTES = 32 * 1024 * 1024;
/** ZFS_MAX_DATASET_NAME_LEN, less the NUL. */
const MAX_NAME_LENGTH = 255;

/** Bytes, as `zfs list -p` tells of a dataset. */
interface DatasetRoom {
  name: string;
  available: number;
  usedByDataset: number;
  refReservation: number;
}

/** Parses `zfs list -H -p -o name,available,usedbydataset,refreservation`; `-` and `none` are 0. Pure. */
export function parseRoom(output: string): DatasetRoom[] {
  const bytes = (text: string | undefined): number => Number(text) || 0;
  return parseRows(output).map(([name = '', available, used, reserved]) => ({
    name,
    available: bytes(available),
    usedByDataset: bytes(used),
    refReservation: bytes(reserved),
  }));
}

/**
 * What a snapshot of a dataset lacks, in bytes; 0 when there is room. A refreservation promises that all of the
 * dataset can be written anew, so a snapshot of what was written takes as much once more
 * (dsl_dataset_snapshot_reserve_space), and `available` counts what is reserved and not yet written. Pure.
 */
export function missingBytes({ available, usedByDataset, refReservation }: DatasetRoom): number {
  const needed = Math.min(usedByDataset, refReservation);
  const usable = available - Math.max(0, refReservation - usedByDataset);
  return Math.max(0, needed - usable);
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}

function failed(message: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotFailed', message, { hint });
}

async function requirePool(name: string): Promise<void> {
  const pool = await readPool(name);
  const refused = refusePool(pool);
  if (refused !== undefined)
    throw failed(`No snapshot can be taken in ${name}: ${refused.reason}`, refused.hint);
}

/**
 * Proves, before any freeze, that the snapshots of these datasets of one pool can be made: the pool works, the names
 * fit, there is room. Rejects with `snapshotFailed`.
 */
export async function requireZfsRoom(wanted: readonly { dataset: string; name: string }[]): Promise<void> {
  for (const { dataset, name } of wanted) {
    if (`${dataset}@${name}`.length <= MAX_NAME_LENGTH) continue;
    throw failed(
      `The name of a snapshot of ${dataset} would be longer than ZFS allows: ${dataset}@${name}`,
      'Give the job a shorter name.',
    );
  }
  const pools = new Set(wanted.map(({ dataset }) => poolOf(dataset)));
  for (const pool of pools) await requirePool(pool);
  const columns = 'name,available,usedbydataset,refreservation';
  const datasets = [...new Set([...pools, ...wanted.map(({ dataset }) => dataset)])];
  const listed = await runZfs(['zfs', 'list', '-H', '-p', '-o', columns, ...datasets]);
  if (listed.exitCode !== 0) {
    throw failed(
      `The room for snapshots cannot be looked at: ${describeZfsFailure('zfs', listed)}`,
      `See what this says: zfs list ${datasets.map(shellWord).join(' ')}`,
    );
  }
  for (const room of parseRoom(listed.stdout)) {
    const isPool = pools.has(room.name);
    if (isPool && room.available < MIN_ROOM_BYTES) {
      throw failed(
        `Too little room for a snapshot in the pool ${room.name}: ${mebibytes(room.available)} free, ${mebibytes(MIN_ROOM_BYTES)} needed`,
        'Free some room there: what is written while the snapshot exists needs new blocks.',
      );
    }
    const missing = missingBytes(room);
    if (missing > 0 && datasets.includes(room.name)) {
      throw failed(
        `Too little room for a snapshot of ${room.name}: its refreservation keeps room to write all of it anew, and for that ${mebibytes(missing)} are missing`,
        `Free some room in its pool, or make it sparse: zfs set refreservation=none ${shellWord(room.name)}`,
      );
    }
  }
}
