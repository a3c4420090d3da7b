import { lstat, open, readdir } from 'node:fs/promises';
import type { Dirent } from 'node:fs';
import { errnoOf } from '../../errors.js';
import { copyStopped } from '../copy-error.js';
import { printable } from '../printable.js';
import { compileExcludes, type ExcludeMatcher } from '../rsync-pattern.js';

/** One tree for the list of members. */
export interface MemberTree {
  /** An absolute name of its root, under which tar is to find it; every entry's begins with it. */
  spelledAs: string;
  /** Its path on the live system, for messages. */
  livePath: string;
  exclude: readonly string[];
  /** Paths below it that belong to other trees, relative. */
  nested: readonly string[];
  /** Whether the root is a member itself. */
  withRoot: boolean;
}

export interface ListOptions {
  /** Gets each directory that cannot be read, as a live path; it is a member all the same. */
  onUnreadable: (path: string) => void;
  signal: AbortSignal;
}

/** What listing the members found. */
export interface MemberCount {
  /** Entries that are not directories. */
  files: number;
}

const WRITE_AT_BYTES = 256 * 1024;
const SLASH = Buffer.from('/');
const NUL = Buffer.from([0]);

/** Collects NUL-terminated names and writes them in large pieces. */
class NameList {
  #names: Buffer[] = [];
  #size = 0;
  readonly #write: (piece: Buffer) => Promise<unknown>;

  constructor(write: (piece: Buffer) => Promise<unknown>) {
    this.#write = write;
  }

  async add(name: Buffer): Promise<void> {
    this.#names.push(name, NUL);
    this.#size += name.length + 1;
    if (this.#size >= WRITE_AT_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const piece = Buffer.concat(this.#names);
    this.#names = [];
    this.#size = 0;
    if (piece.length > 0) await this.#write(piece);
  }
}

/** Walks one tree: bytes all the way, since names need not be UTF-8. */
class TreeLister {
  files = 0;
  readonly #tree: MemberTree;
  readonly #isExcluded: ExcludeMatcher;
  readonly #nested: ReadonlySet<string>;
  readonly #names: NameList;
  readonly #options: ListOptions;
  #device = 0;

  constructor(tree: MemberTree, names: NameList, options: ListOptions) {
    this.#tree = tree;
    this.#isExcluded = compileExcludes(tree.exclude);
    this.#nested = new Set(tree.nested.map((path) => Buffer.from(path, 'utf8').toString('latin1')));
    this.#names = names;
    this.#options = options;
  }

  async list(): Promise<void> {
    const root = Buffer.from(this.#tree.spelledAs, 'utf8');
    this.#device = (await lstat(root)).dev;
    if (this.#tree.withRoot) await this.#names.add(root);
    await this.#listDirectory(root, '');
  }

  async #entries(directory: Buffer, relative: string): Promise<Dirent<Buffer>[]> {
    try {
      const entries = await readdir(directory, { withFileTypes: true, encoding: 'buffer' });
      return entries.toSorted((a, b) => Buffer.compare(a.name, b.name));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#options.onUnreadable(`${this.#tree.livePath}/${printable(relative)}`.replace(/\/$/, ''));
      return [];
    }
  }

  async #listDirectory(directory: Buffer, relative: string): Promise<void> {
    if (this.#options.signal.aborted) throw copyStopped();
    for (const entry of await this.#entries(directory, relative)) {
      // tar cannot keep sockets, and they are of no use without the process that listens on them.
      if (entry.isSocket()) continue;
      const path = relative + (relative === '' ? '' : '/') + entry.name.toString('latin1');
      const isDirectory = entry.isDirectory();
      if (this.#nested.has(path) || this.#isExcluded(path, isDirectory)) continue;
      const name = Buffer.concat([directory, SLASH, entry.name]);
      await this.#names.add(name);
      if (!isDirectory) this.files += 1;
      else if (await this.#isHere(name)) await this.#listDirectory(name, path);
    }
  }

  /** False for the root of another filesystem: the directory is a member, what is in it is not. */
  async #isHere(directory: Buffer): Promise<boolean> {
    try {
      return (await lstat(directory)).dev === this.#device;
    } catch (error) {
      // tar will find the same and say so.
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  }
}

/**
 * Writes the names of everything that `trees` hold, NUL-terminated, to `file` (0600): what the patterns leave out,
 * what belongs to nested trees, other filesystems and sockets excepted.
 */
export async function writeMemberList(
  file: string,
  trees: readonly MemberTree[],
  options: ListOptions,
): Promise<MemberCount> {
  const handle = await open(file, 'w', 0o600);
  try {
    const names = new NameList((piece) => handle.writeFile(piece));
    let files = 0;
    for (const tree of trees) {
      const lister = new TreeLister(tree, names, options);
      await lister.list();
      files += lister.files;
    }
    await names.flush();
    return { files };
  } finally {
    await handle.close();
  }
}
