import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { suggested } from '../../system/command-line.js';
import type { runCommand } from '../../system/run-command.js';
import { isAsReceived } from './btrfs-base.js';
import {
  isOfUnknownParent,
  readContents,
  siblingData,
  streamFile,
  type BtrfsContents,
} from './btrfs-contents.js';
import { parseBtrfsStreamHead } from './btrfs-stream.js';
import { copyFailure } from '../copy-error.js';
import { countSources } from '../filesystem/count-tree.js';
import type { ListRequest } from '../engine.js';
import { withMounts, type MountStep } from '../filesystem/mounted-trees.js';
import { treesBelow } from '../filesystem/open-trees.js';
import type { OpenRequest, OpenTrees } from '../filesystem/opened-trees.js';
import { requireStored } from '../stored/stored-file.js';
import { HashingStream, pipePrograms } from '../stream-pipe.js';

/** Beside what the streams bring: what an empty btrfs needs. */
const EMPTY_BYTES = 1024 ** 3;

/** What a file takes beyond its size, at most. */
const PER_FILE_BYTES = 4096;

/** One stream of those that must be received, one after the other. */
interface Link {
  /** Of what is received from it. */
  name: string;
  file: string;
  bytes: number;
}

/** The streams that a subvolume is made of, the full one first. Rejects with `failed` where one of them is not there, or needs itself. */
async function chainOf(dataDirectory: string, contents: BtrfsContents, name: string): Promise<Link[]> {
  const chain: Link[] = [];
  let [at, known, wanted]: [string, BtrfsContents, string | undefined] = [dataDirectory, contents, name];
  while (wanted !== undefined) {
    const current: string = wanted;
    const subvolume = known.subvolumes.find((one) => one.name === current);
    const file = path.join(at, streamFile(current));
    if (subvolume === undefined || chain.some((link) => link.file === file)) {
      throw new FsbackupError('failed', `${at} has no ${current}, which an increment needs`, {
        hint: `Restore an earlier backup; \`${suggested('backups list')}\` shows those that there are.`,
      });
    }
    await requireStored(file);
    chain.unshift({ name: current, file, bytes: subvolume.bytes });
    wanted = subvolume.parent?.name;
    if (subvolume.parent === undefined) break;
    at = siblingData(at, subvolume.parent.backupId);
    known = await readContents(at);
  }
  return chain;
}

/** Receives the streams into a btrfs in a sparse file of `scratch`; returns how to see it. */
async function receive(
  links: readonly Link[],
  { scratch, signal, onProgress }: OpenRequest,
  run: typeof runCommand,
): Promise<MountStep> {
  const [image, mountpoint] = [path.join(scratch, 'received.img'), path.join(scratch, 'received')];
  await mkdir(mountpoint, { mode: 0o700 });
  const handle = await open(image, 'wx', 0o600);
  await handle.truncate(links.reduce((sum, { bytes }) => sum + 2 * bytes, EMPTY_BYTES));
  await handle.close();
  const made = await run(['mkfs.btrfs', '-q', '-m', 'single', image], { signal });
  if (made.exitCode !== 0) throw copyFailure('mkfs.btrfs', made);
  const step = { fstype: 'btrfs', options: 'loop', source: image, at: mountpoint };
  for (const [index, { file }] of links.entries()) {
    const through = new HashingStream((bytes) => onProgress({ bytes, files: 0 }));
    const { sent, taken } = await pipePrograms(
      {
        from: ['zstd', '-q', '--decompress', '--stdout', '--', file],
        to: withMounts([step], ['btrfs', 'receive', '-q', mountpoint]),
        through,
        signal,
      },
      run,
    );
    // A stream that is damaged is why btrfs could not take it.
    if (sent.exitCode !== 0 && sent.signal === undefined && taken.exitCode === 0)
      throw copyFailure('zstd', sent);
    if (taken.exitCode !== 0) throw copyFailure('btrfs', taken);
    const head = parseBtrfsStreamHead(through.head);
    const before = links[index - 1];
    if (before === undefined || head?.parentUuid === undefined || head.parentUuid !== head.uuid) continue;
    // Of an earlier version: all of the chain have one UUID, and the next would be received as an increment of the oldest.
    const argv = ['btrfs', 'subvolume', 'delete', '--', path.join(mountpoint, before.name)] as const;
    const deleted = await run(withMounts([step], argv), { signal });
    if (deleted.exitCode !== 0) throw copyFailure('btrfs', deleted);
  }
  return { ...step, options: 'loop,ro' };
}

/** Everything that must be received of a backup. */
async function linksOf(dataDirectory: string, contents: BtrfsContents): Promise<Link[]> {
  const links: Link[] = [];
  for (const { name } of contents.subvolumes) links.push(...(await chainOf(dataDirectory, contents, name)));
  return links;
}

/** What to tell of what is restored from subvolumes that were received. */
async function warningsOf(
  dataDirectory: string,
  { kind, subvolumes }: BtrfsContents,
  run: typeof runCommand,
): Promise<string[]> {
  const warnings: string[] = [];
  for (const subvolume of kind === 'received' ? subvolumes : []) {
    const { name } = subvolume;
    if (isOfUnknownParent(subvolume))
      warnings.push(`${name} may lack changes, or have what was removed: its parent may have been another`);
    if (!(await isAsReceived(path.join(dataDirectory, name), subvolume, run)))
      warnings.push(`${name} is not as it was received: it was made writable, or written to`);
  }
  return warnings;
}

/** Opens what the btrfs-send engine wrote. */
export function btrfsOpener(run: typeof runCommand): OpenTrees {
  return async (request, use) => {
    const { dataDirectory, scratch } = request;
    const contents = await readContents(dataDirectory);
    const mounts: MountStep[] = [];
    if (contents.kind === 'stream')
      mounts.push(await receive(await linksOf(dataDirectory, contents), request, run));
    const root = mounts[0]?.at ?? dataDirectory;
    const trees = treesBelow(contents.trees, ({ subvolume }) => path.join(root, subvolume));
    const rootTimesVary = contents.kind === 'stream';
    const warnings = await warningsOf(dataDirectory, contents, run);
    return await use({ trees, mounts, scratch, rootTimesVary, warnings });
  };
}

/** `CopyEngine.roomToRestore`: what must be received, and as much again for what is copied from it. */
export async function roomForBtrfs({ dataDirectory, signal }: ListRequest): Promise<number> {
  const contents = await readContents(dataDirectory);
  if (contents.kind === 'stream') {
    const links = await linksOf(dataDirectory, contents);
    return links.reduce((sum, { bytes }) => sum + 2 * bytes, 0);
  }
  const trees = treesBelow(contents.trees, ({ subvolume }) => path.join(dataDirectory, subvolume));
  const { bytes, files } = await countSources(
    trees.map((tree) => ({ ...tree, exclude: [] })),
    signal,
  );
  return bytes + files * PER_FILE_BYTES;
}
