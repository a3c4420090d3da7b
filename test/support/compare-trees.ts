import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type BigIntStats } from 'node:fs';
import { open } from 'node:fs/promises';
import { runCommand } from '../../src/system/run-command.js';

/** How two trees may differ and still count as the same. */
export interface CompareOptions {
  /** Names left out on both sides, relative paths, one character per byte. */
  ignore?: (path: string) => boolean;
  /** Sockets: tar cannot keep them. */
  ignoreSockets?: boolean;
  /** Which symlinks are names of one and the same. */
  ignoreLinkedSymlinks?: boolean;
  /** Files with holes: not all engines bring them back as such. */
  ignoreHoles?: boolean;
  /** The attributes of the two roots themselves. */
  ignoreRoot?: boolean;
}

/** Everything that a backup must bring back of one entry. Names are "binary" strings: one character per byte. */
interface Entry {
  type: string;
  mode: string;
  owner: string;
  mtimeNs: bigint;
  size: bigint | undefined;
  device: bigint | undefined;
  target: string | undefined;
  contentHash: string | undefined;
  /** In units of 512 bytes. */
  blocks: bigint;
  /** The least path of those that are names of this file. */
  firstName: string;
}

function typeOf(stats: BigIntStats): string {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'block device' : 'character device';
}

const CHUNK_BYTES = 4 * 1024 ** 2;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** Of what is in a file, in chunks of the same bounds whatever its holes. Nothing but zeros are counted, which takes a tenth of the time. */
async function hashOf(file: Buffer, size: bigint): Promise<string> {
  const hash = createHash('sha256');
  if (size <= CHUNK_BYTES) return hash.update(readFileSync(file)).digest('hex');
  const handle = await open(file, 'r');
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let filled = 0; ;) {
      const { bytesRead } = await handle.read(chunk, filled, CHUNK_BYTES - filled);
      filled += bytesRead;
      if (bytesRead > 0 && filled < CHUNK_BYTES) continue;
      const read = chunk.subarray(0, filled);
      if (read.equals(ZEROS.subarray(0, filled))) hash.update(`zeros ${filled}\n`);
      else hash.update(`data ${filled}\n`).update(read);
      if (bytesRead === 0) return hash.digest('hex');
      filled = 0;
    }
  } finally {
    await handle.close();
  }
}

/** Of each entry at once, not by promises: of many small files those take most of the time, and under emulation all of it. */
async function readTree(root: string, options: CompareOptions): Promise<Map<string, Entry>> {
  const tree = new Map<string, Entry>();
  const firstNames = new Map<bigint, string>();

  async function add(path: string, file: Buffer): Promise<boolean> {
    const stats = lstatSync(file, { bigint: true });
    const type = typeOf(stats);
    if (type === 'socket' && options.ignoreSockets === true) return false;
    const isDevice = type.endsWith('device');
    const isAlone = type === 'directory' || (type === 'symlink' && options.ignoreLinkedSymlinks === true);
    const firstName = (isAlone ? undefined : firstNames.get(stats.ino)) ?? path;
    firstNames.set(stats.ino, firstName);
    tree.set(path, {
      type,
      mode: (stats.mode & 0o7777n).toString(8),
      owner: `${stats.uid}:${stats.gid}`,
      mtimeNs: stats.mtimeNs,
      size: type === 'file' ? stats.size : undefined,
      device: isDevice ? stats.rdev : undefined,
      target: type === 'symlink' ? readlinkSync(file, 'buffer').toString('latin1') : undefined,
      contentHash: type === 'file' ? await hashOf(file, stats.size) : undefined,
      blocks: type === 'file' && options.ignoreHoles !== true ? stats.blocks : 0n,
      firstName,
    });
    return type === 'directory';
  }

  async function walk(path: string, directory: Buffer): Promise<void> {
    const names = readdirSync(directory, { encoding: 'buffer' });
    for (const name of names.toSorted((a, b) => Buffer.compare(a, b))) {
      const below = (path === '' ? '' : `${path}/`) + name.toString('latin1');
      if (options.ignore?.(below) === true) continue;
      const file = Buffer.concat([directory, Buffer.from('/'), name]);
      if (await add(below, file)) await walk(below, file);
    }
  }

  const top = Buffer.from(root, 'utf8');
  if (options.ignoreRoot !== true) await add('', top);
  await walk('', top);
  return tree;
}

/** The extended attributes (ACLs among them, as the kernel keeps them) of a tree: path → sorted lines. */
async function readAttributes(root: string): Promise<Map<string, string>> {
  // getfattr escapes newlines and non-ASCII bytes in names as \ooo; so do both sides alike.
  const result = await runCommand(
    ['getfattr', '--recursive', '--physical', '--no-dereference', '--dump', '--match=-', '.'],
    {
      cwd: root,
    },
  );
  // 1: an entry without attributes, such as a symlink on some filesystems.
  if (result.exitCode === undefined || result.exitCode > 1)
    throw new Error(`getfattr failed: ${result.stderr}`);
  const attributes = new Map<string, string>();
  for (const section of result.stdout.split('\n\n')) {
    const [heading, ...lines] = section.trim().split('\n');
    if (heading?.startsWith('# file: ') !== true) continue;
    attributes.set(heading.slice('# file: '.length), lines.toSorted().join('\n'));
  }
  return attributes;
}

function differencesOf(path: string, a: Entry, b: Entry): string[] {
  const differences: string[] = [];
  for (const key of [
    'type',
    'mode',
    'owner',
    'mtimeNs',
    'size',
    'device',
    'target',
    'contentHash',
    'firstName',
  ] as const) {
    if (a[key] !== b[key])
      differences.push(`${JSON.stringify(path)}: ${key} ${String(a[key])} became ${String(b[key])}`);
  }
  // Block allocation is the filesystem's own affair (extents, preallocation), holes are not.
  const slack = a.blocks / 4n + 256n;
  if (b.blocks > a.blocks + slack)
    differences.push(`${JSON.stringify(path)}: ${a.blocks} blocks became ${b.blocks}`);
  return differences;
}

/**
 * Compares two trees in everything that a backup must bring back: names, types, contents, owners, modes, times to the
 * nanosecond, hard links, holes, device numbers, symlinks' targets, extended attributes and ACLs. Returns the
 * differences, one line each; none means that the trees are the same.
 */
export async function compareTrees(
  original: string,
  copy: string,
  options: CompareOptions = {},
): Promise<string[]> {
  const [a, b] = [await readTree(original, options), await readTree(copy, options)];
  const differences: string[] = [];
  for (const [path, entry] of a) {
    const other = b.get(path);
    if (other === undefined) differences.push(`${JSON.stringify(path)} (${entry.type}) is missing`);
    else differences.push(...differencesOf(path, entry, other));
  }
  for (const path of b.keys()) {
    if (!a.has(path)) differences.push(`${JSON.stringify(path)} is too many`);
  }

  const [attributesA, attributesB] = [await readAttributes(original), await readAttributes(copy)];
  for (const name of new Set([...attributesA.keys(), ...attributesB.keys()])) {
    if (name === '.' && options.ignoreRoot === true) continue;
    if (options.ignore?.(name) === true) continue;
    if (attributesA.get(name) !== attributesB.get(name)) {
      differences.push(
        `${name}: attributes ${attributesA.get(name) ?? 'none'} became ${attributesB.get(name) ?? 'none'}`,
      );
    }
  }
  return differences;
}

/** How many entries there are below a directory: for a test to be sure that it compared something. */
export function countEntries(root: string | Buffer): number {
  const directory = Buffer.from(root);
  let count = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    count += 1;
    if (entry.isDirectory()) count += countEntries(Buffer.concat([directory, Buffer.from('/'), entry.name]));
  }
  return count;
}
