import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { describeFailure, runCommand } from '../../src/system/run-command.js';

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

async function walk(root: string, below: string, skip: (relative: string) => boolean): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(path.join(root, below))).toSorted()) {
    const relative = path.join(below, name);
    if (skip(relative)) continue;
    found.push(relative);
    if ((await lstat(path.join(root, relative))).isDirectory())
      found.push(...(await walk(root, relative, skip)));
  }
  return found;
}

/** Everything that a backup must bring back of one entry, in a line; `first` names the first of a set of hard links. */
async function describeEntry(file: string, first: (key: string) => string): Promise<string> {
  const facts = await lstat(file, { bigint: true });
  const common = `mode=${facts.mode.toString(8)} owner=${facts.uid}:${facts.gid}`;
  if (facts.isDirectory()) return `${common} mtime=${facts.mtimeNs}`;
  const linked = facts.nlink > 1n ? ` linked=${first(`${facts.dev}:${facts.ino}`)}` : '';
  const rest = `${common} mtime=${facts.mtimeNs}${linked}`;
  if (facts.isSymbolicLink()) return `${rest} to=${await readlink(file)}`;
  if (!facts.isFile()) return `${rest} device=${facts.rdev}`;
  const sparse = facts.blocks * 512n < facts.size / 2n ? ' sparse' : '';
  return `${rest} size=${facts.size}${sparse} sha256=${await hashOf(file)}`;
}

/** getfattr writes the bytes of line ends and backslashes in a name as `\\ooo`, all others as they are. */
function unescapeName(escaped: string): string {
  return escaped.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

/** Extended attributes of all entries, ACLs among them, by relative path. */
async function readAttributes(root: string): Promise<Map<string, string>> {
  const result = await runCommand(['getfattr', '-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: root,
  });
  if (result.exitCode !== 0) throw new Error(describeFailure('getfattr', result));
  const attributes = new Map<string, string>();
  for (const block of result.stdout.split('\n\n')) {
    const [head, ...values] = block.split('\n');
    if (head?.startsWith('# file: ') !== true) continue;
    const name = path.normalize(unescapeName(head.slice('# file: '.length)));
    attributes.set(
      name,
      values
        .filter((value) => value !== '')
        .toSorted()
        .join(' '),
    );
  }
  return attributes;
}

/**
 * A line per entry below `root`, by relative path: type and mode, owner, mtime, content, links, holes, device
 * numbers, extended attributes and ACLs. Two trees with equal maps are the same for a restore. `skip` leaves entries
 * out, with all below them.
 */
export async function describeTree(
  root: string,
  skip: (relative: string) => boolean = () => false,
): Promise<Map<string, string>> {
  const attributes = await readAttributes(root);
  const firstOf = new Map<string, string>();
  const tree = new Map<string, string>();
  for (const relative of ['.', ...(await walk(root, '.', skip))]) {
    const line = await describeEntry(path.join(root, relative), (key) => {
      const first = firstOf.get(key) ?? relative;
      firstOf.set(key, first);
      return first;
    });
    const extra = attributes.get(relative);
    tree.set(relative, extra === undefined ? line : `${line} ${extra}`);
  }
  return tree;
}

/** How two described trees differ, a line each. */
export function differencesOf(
  expected: ReadonlyMap<string, string>,
  actual: ReadonlyMap<string, string>,
): string[] {
  const differences: string[] = [];
  for (const [name, line] of expected) {
    const other = actual.get(name);
    if (other === undefined) differences.push(`${name} is missing`);
    else if (other !== line) differences.push(`${name} differs: ${line} became ${other}`);
  }
  for (const name of actual.keys()) if (!expected.has(name)) differences.push(`${name} is too much`);
  return differences;
}
