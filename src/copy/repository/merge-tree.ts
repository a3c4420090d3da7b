import type { Dirent } from 'node:fs';
import { lstat, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.js';
import type { runCommand } from '../../system/run-command.js';
import { copyFailure, TARGET_REFUSES, type UnreadablePaths } from '../copy-error.js';
import { printable } from '../printable.js';

/** What a merge works with. */
export interface MergeContext {
  run: typeof runCommand;
  unreadable: UnreadablePaths;
  signal: AbortSignal;
}

/** Names are bytes: not all are UTF-8. */
function join(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}

async function kindOf(file: Buffer): Promise<{ isDirectory: boolean; dev: number } | undefined> {
  try {
    const stat = await lstat(file);
    return { isDirectory: stat.isDirectory(), dev: stat.dev };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function entriesOf(directory: Buffer): Promise<Dirent<Buffer>[]> {
  return await readdir(directory, { encoding: 'buffer', withFileTypes: true });
}

/** A file, in place of whatever has its name; false when that is a directory with something in it. */
async function moveFile(
  from: Buffer,
  to: Buffer,
  there: { isDirectory: boolean } | undefined,
): Promise<boolean> {
  if (there?.isDirectory === true) {
    try {
      await rmdir(to);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOTEMPTY' || errno === 'EEXIST' || errno === 'EBUSY') return false;
      throw error;
    }
  }
  await rename(from, to);
  return true;
}

/** On another filesystem nothing can be renamed to. */
async function copyAcross(from: Buffer, to: Buffer, live: string, context: MergeContext): Promise<void> {
  const { run, unreadable, signal } = context;
  const argv = [
    'cp',
    '--archive',
    '--sparse=always',
    '--remove-destination',
    '--no-target-directory',
  ] as const;
  const result = await run([...argv, '--', from.toString(), to.toString()], { signal });
  if (result.exitCode === 1 && !TARGET_REFUSES.test(result.stderr)) unreadable.add(live);
  else if (result.exitCode !== 0) throw copyFailure('cp', result);
}

class Merge {
  readonly #context: MergeContext;
  readonly #root: Buffer;
  readonly #dev: number;

  constructor(root: Buffer, dev: number, context: MergeContext) {
    this.#root = root;
    this.#dev = dev;
    this.#context = context;
  }

  #live(from: Buffer): string {
    return printable(from.subarray(this.#root.length).toString('latin1'));
  }

  async into(from: Buffer, to: Buffer): Promise<void> {
    for (const entry of await entriesOf(from)) {
      this.#context.signal.throwIfAborted();
      await this.#one(entry, join(from, entry.name), join(to, entry.name));
    }
  }

  async #one(entry: Dirent<Buffer>, from: Buffer, to: Buffer): Promise<void> {
    const there = await kindOf(to);
    if (!entry.isDirectory()) {
      if (await moveFile(from, to, there)) return;
      this.#context.unreadable.add(this.#live(from));
      await unlink(from);
      return;
    }
    if (there?.isDirectory !== true) {
      if (there !== undefined) await unlink(to);
      await rename(from, to);
      return;
    }
    if (there.dev === this.#dev) {
      await this.into(from, to);
      return;
    }
    await copyAcross(from, to, this.#live(from), this.#context);
    // A Buffer, where it may be one: the directory's own attributes were copied with it.
    await rm(from.toString(), { recursive: true, force: true });
  }
}

/**
 * Moves a restored tree to where it belongs, over what is there: replaces files and symlinks of the same name, merges
 * directories, deletes nothing else. A file whose place a directory has taken is told as unreadable. `staged` lies on
 * the filesystem of `destination` or of a directory in it; what goes to others is copied.
 */
export async function mergeTree(staged: string, destination: string, context: MergeContext): Promise<void> {
  const root = Buffer.from(staged);
  const merge = new Merge(root, (await lstat(staged)).dev, context);
  await merge.into(root, Buffer.from(destination));
  // What is left are the directories that were there before: with their owners, modes, times, ACLs and attributes.
  for (const { name } of await readdir(staged, { withFileTypes: true })) {
    const [from, to] = [path.join(staged, name), path.join(destination, name)];
    const argv = ['cp', '--archive', '--attributes-only', '--no-target-directory', '--', from, to] as const;
    const result = await context.run(argv, { signal: context.signal });
    if (result.exitCode !== 0) throw copyFailure('cp', result);
  }
}
