import { existsSync } from 'node:fs';
import { FsbackupError } from '../errors.js';
import type { BlockDevice } from '../system/block-stack.js';
import { deviceNumber } from '../system/device-number.js';
import { describeFailure, runCommand } from '../system/run-command.js';

const TIMEOUT_MS = 60_000;

/** A device-mapper device between a logical volume and the filesystem. */
export interface Layer {
  kind: 'partition' | 'luks';
  majorMinor: string;
}

/**
 * What lies between the volume and the filesystem, the lowest first; undefined when something there is neither a LUKS
 * container nor a partition. Both are device-mapper's: a volume of LVM has no partitions of the kernel's own, they are
 * mapped by kpartx(8), which marks them so, as cryptsetup(8) does its containers. Pure.
 */
export function layersAbove(stack: readonly BlockDevice[], above: readonly string[]): Layer[] | undefined {
  const layers: Layer[] = [];
  for (const majorMinor of above.toReversed()) {
    const uuid = stack.find((device) => device.majorMinor === majorMinor)?.dmUuid ?? '';
    if (/^CRYPT-LUKS[12]-/.test(uuid)) layers.push({ kind: 'luks', majorMinor });
    else if (/^part\d+-/.test(uuid)) layers.push({ kind: 'partition', majorMinor });
    else return undefined;
  }
  return layers;
}

/** The mapping of a layer with what it lies on replaced; undefined for one that is not of a single, plain target. Pure. */
export function moveTable(kind: Layer['kind'], table: string, lower: string): string | undefined {
  const fields = table.trimEnd().split(' ');
  const [start, , target] = fields;
  const device = kind === 'luks' ? 6 : 3;
  if (table.trimEnd().includes('\n') || start !== '0' || !/^\d+:\d+$/.test(fields[device] ?? ''))
    return undefined;
  if (target !== (kind === 'luks' ? 'crypt' : 'linear')) return undefined;
  return fields.with(device, lower).join(' ');
}

/** Whether the key stands in the table itself. LUKS2 keeps it in the kernel's keyring, where nobody gets at it again. */
export function holdsKey(table: string): boolean {
  return /^[0-9a-f-]+$/.test(table.split(' ')[4] ?? '');
}

async function tableOf({ majorMinor }: Layer): Promise<string> {
  const [major = '', minor = ''] = majorMinor.split(':');
  const shown = await runCommand(['dmsetup', 'table', '--showkeys', '--major', major, '--minor', minor], {
    timeoutMs: TIMEOUT_MS,
  });
  if (shown.exitCode === 0) return shown.stdout;
  throw failed(
    `The mapping ${majorMinor} cannot be read: ${describeFailure('dmsetup', shown)}`,
    'Run fsbackup as root.',
  );
}

function failed(message: string, hint: string): FsbackupError {
  return new FsbackupError('snapshotFailed', message, { hint });
}

/** Before the freeze: that each layer can be laid over a snapshot. Rejects with `snapshotFailed` and the way out. */
export async function requireOpenable(
  layers: readonly Layer[],
  keyFile: string,
  volume: string,
): Promise<void> {
  for (const layer of layers) {
    if (layer.kind === 'luks' && keyFile !== '') {
      const found = await runCommand(['cryptsetup', '--version'], { timeoutMs: TIMEOUT_MS });
      if (found.exitCode === 0 && existsSync(keyFile)) continue;
      throw failed(
        `The LUKS container on ${volume} cannot be opened: ${existsSync(keyFile) ? describeFailure('cryptsetup', found) : `${keyFile} does not exist`}`,
        'Install cryptsetup, and correct `lvm.keyFile`.',
      );
    }
    const table = await tableOf(layer);
    if (moveTable(layer.kind, table, '0:0') === undefined) {
      throw failed(
        `The ${layer.kind} on ${volume} is mapped in a way that cannot be repeated over a snapshot`,
        'Use `snapshot: command` for this source.',
      );
    }
    if (layer.kind === 'luks' && !holdsKey(table)) {
      throw failed(
        `The key of the LUKS container on ${volume} is in the kernel's keyring, where it cannot be read`,
        'Name a file with one of its keys: `lvm: { keyFile: /root/srv.key }`.',
      );
    }
  }
}

function nameOf(snapshot: string, index: number): string {
  return `${snapshot}-layer${index}`;
}

async function open(layer: Layer, lower: string, name: string, keyFile: string): Promise<void> {
  if (layer.kind === 'luks' && keyFile !== '') {
    const opened = await runCommand(
      ['cryptsetup', 'open', '--readonly', '--type', 'luks', '--key-file', keyFile, '--', lower, name],
      { timeoutMs: TIMEOUT_MS },
    );
    if (opened.exitCode === 0) return;
    throw failed(
      `The LUKS container in the snapshot cannot be opened: ${describeFailure('cryptsetup', opened)}`,
      `Check that ${keyFile} holds one of its keys.`,
    );
  }
  const table = moveTable(layer.kind, await tableOf(layer), (await deviceNumber(lower)) ?? '');
  if (table === undefined)
    throw failed(`The ${layer.kind} above the snapshot has changed`, 'Run the job again.');
  // By standard input: a key in an argument could be read by everybody.
  const made = await runCommand(['dmsetup', 'create', name, '--readonly'], {
    timeoutMs: TIMEOUT_MS,
    input: table,
  });
  if (made.exitCode === 0) return;
  throw failed(
    `The ${layer.kind} above the snapshot cannot be mapped: ${describeFailure('dmsetup', made)}`,
    'See `dmsetup ls --tree` and `dmesg` for why.',
  );
}

/**
 * Lays the layers over the snapshot `device`, read-only; resolves to the device of the topmost. Idempotent: what is
 * there by that name is taken.
 */
export async function openLayers(
  layers: readonly Layer[],
  { device, snapshot, keyFile }: { device: string; snapshot: string; keyFile: string },
): Promise<string> {
  let lower = device;
  for (const [index, layer] of layers.entries()) {
    const name = nameOf(snapshot, index);
    const upper = `/dev/mapper/${name}`;
    if (!existsSync(upper)) await open(layer, lower, name, keyFile);
    lower = upper;
  }
  return lower;
}

/** Takes the layers off again, the topmost first. Idempotent. Rejects with `cleanupIncomplete`. */
export async function closeLayers(layers: readonly Layer[], snapshot: string): Promise<void> {
  for (const index of [...layers.keys()].toReversed()) {
    const name = nameOf(snapshot, index);
    if (!existsSync(`/dev/mapper/${name}`)) continue;
    const removed = await runCommand(['dmsetup', 'remove', '--retry', name], { timeoutMs: TIMEOUT_MS });
    if (removed.exitCode === 0 || !existsSync(`/dev/mapper/${name}`)) continue;
    throw new FsbackupError(
      'cleanupIncomplete',
      `The mapping ${name} could not be removed: ${describeFailure('dmsetup', removed)}`,
      { hint: `See who uses it (lsblk /dev/mapper/${name}), end that, then run: fsbackup recover` },
    );
  }
}
