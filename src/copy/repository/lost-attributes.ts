import type { Dirent } from 'node:fs';
import { chmod, lstat, readdir } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';
import { attributesOf, type Attributes } from '../../system/attributes.js';
import { takes } from './attribute-support.js';
import { printable } from '../printable.js';
import { ACCESS_ACL, aclOfAttribute, modeWithoutAcl, type AclEntry } from './posix-acl.js';

/** So many are asked for at a time: what shows a backup takes a while for each. */
const AT_A_TIME = 16;

/** Takes from a file that has lost its ACL the rights that it gives without. */
export async function closeWithoutAcl(file: Buffer, acl: readonly AclEntry[]): Promise<void> {
  const { mode } = await lstat(file);
  await chmod(file, modeWithoutAcl(mode & 0o7777, acl));
}

function join(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}

/** Undefined: it is not shown at all. */
async function originalOf(file: Buffer): Promise<Attributes | undefined> {
  try {
    return await attributesOf(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function aclFirst(name: string): number {
  return name === ACCESS_ACL ? 0 : 1;
}

class Comparison {
  readonly #root: Buffer;
  readonly #onLost: (live: string) => void;
  readonly #signal: AbortSignal;

  constructor(root: Buffer, { onLost, signal }: { onLost: (live: string) => void; signal: AbortSignal }) {
    this.#root = root;
    this.#onLost = onLost;
    this.#signal = signal;
  }

  async #one(restored: Buffer, shown: Buffer): Promise<void> {
    const was = await originalOf(shown);
    if (was?.size === 0) return;
    const is = await attributesOf(restored);
    const lost = [...(was ?? [])].filter(([name, value]) => is.get(name)?.equals(value) !== true);
    let isWhole = was !== undefined;
    // It may be for another one that they were not set. What rights depend on has the room first.
    for (const [name, value] of lost.toSorted(([one], [another]) => aclFirst(one) - aclFirst(another))) {
      if (await takes(restored, name, value)) continue;
      isWhole = false;
      if (name === ACCESS_ACL) await closeWithoutAcl(restored, aclOfAttribute(value));
    }
    if (!isWhole) this.#onLost(printable(restored.subarray(this.#root.length).toString('latin1')));
  }

  async into(restored: Buffer, shown: Buffer): Promise<void> {
    const entries = await readdir(restored, { encoding: 'buffer', withFileTypes: true });
    // Others are shown without attributes, also where they have some.
    const kept = entries.filter((entry) => entry.isFile() || entry.isDirectory());
    for (let at = 0; at < kept.length; at += AT_A_TIME) {
      this.#signal.throwIfAborted();
      const some: Dirent<Buffer>[] = kept.slice(at, at + AT_A_TIME);
      await Promise.all(some.map(({ name }) => this.#one(join(restored, name), join(shown, name))));
    }
    for (const entry of kept)
      if (entry.isDirectory()) await this.into(join(restored, entry.name), join(shown, entry.name));
  }
}

/**
 * Compares the extended attributes, ACLs among them, of the files and directories below `restored` with those of the same
 * paths below `shown`, where the backup is mounted, and sets what is lacking. `onLost` is told those that do not take all, as on the
 * live system; one that does not take its ACL gets a mode that gives nobody more than that did.
 */
export async function findLostAttributes(
  restored: string,
  shown: string,
  how: { onLost: (live: string) => void; signal: AbortSignal },
): Promise<void> {
  const root = Buffer.from(restored);
  await new Comparison(root, how).into(root, Buffer.from(shown));
}
