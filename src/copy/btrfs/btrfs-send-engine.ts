import { readdir, realpath, rm } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError, messageOf } from '../../errors.js';
import { deleteSubvolume, readSubvolume, sentUuidOf, type Subvolume } from '../../system/btrfs-subvolume.js';
import { mountOfPath, readMounts, type Mount } from '../../system/mountinfo.js';
import { withHeldFilesystems } from '../../system/held-filesystem.js';
import { runCommand, type CommandResult } from '../../system/run-command.js';
import { findBtrfsParent, identityOf, isMadeOf, readOwnSubvolume, type BtrfsParent } from './btrfs-base.js';
import {
  readContents,
  streamFile,
  writeContents,
  type BtrfsContents,
  type SentSubvolume,
} from './btrfs-contents.js';
import { btrfsOpener, roomForBtrfs } from './btrfs-restore.js';
import { checkOpened, restoreOpened } from '../filesystem/open-trees.js';
import { parseBtrfsStreamHead } from './btrfs-stream.js';
import { countUnproven, verifyBtrfs } from './btrfs-verify.js';
import { withCopyErrors } from '../copy-error.js';
import { requireOnDisk } from '../on-disk.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  ListRequest,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../engine.js';
import { checkRsync } from '../rsync/rsync-version.js';
import { resultOf, sendEach, type SentPart } from '../filesystem/send-each.js';
import { snapshotsToSend, type SnapshotToSend } from '../filesystem/sent-snapshots.js';
import { PACKER, packInto } from '../packed-file.js';
import { HashingStream, mustPipe, type Piped } from '../stream-pipe.js';
import { versionOf } from '../tar/tar-version.js';
import { withPrivateFile } from '../stored/private-file.js';

/** Where a source's snapshot lies, by its provider. */
function pathOf({ ref }: SnapshotToSend): { snapshot: string; inside: string } {
  const { snapshot, inside = '' } = ref.data;
  if (ref.provider === 'btrfs' && snapshot !== undefined) return { snapshot, inside };
  throw new FsbackupError('usage', `btrfs-send sends snapshots of btrfs, and ${ref.mountpoint} has none`, {
    hint: 'Choose another engine for it: rsync, tar.',
  });
}

/**
 * `btrfs send` finds subvolumes by their names, which lead through directories of others. What it sent says which ones they
 * were: rejects with `copyFailed` unless they are those that were looked at in a directory that only root can change.
 */
function requireSent(
  directory: string,
  head: Buffer,
  wanted: { subvolume: Subvolume; parent: Subvolume | undefined },
): void {
  const sent = parseBtrfsStreamHead(head);
  const { subvolume, parent } = wanted;
  if (sent?.uuid === sentUuidOf(subvolume) && sent?.parentUuid === sentUuidOf(parent)) return;
  throw new FsbackupError('copyFailed', `another subvolume was sent in the place of ${directory}`, {
    hint: 'Somebody put it there meanwhile. See who may write to the directories above, and run it again.',
  });
}

/** Whether btrfs makes checksums of what is written there now. */
function makesChecksums(mount: Mount): boolean {
  return !/\bnodata(?:sum|cow)\b/.test(mount.superOptions.join(','));
}

/**
 * Why nothing can be received on a mount as an increment, a clause; undefined: it can be. btrfs-receive(8) looks for the parent below
 * the mountpoint by its path in the subvolume, which is another where a mere directory is mounted.
 */
async function whyNoIncrement({ mountpoint }: Mount): Promise<string | undefined> {
  if ((await readSubvolume(mountpoint)) !== undefined) return undefined;
  return `${mountpoint} shows a directory of a btrfs, where no increment can be received: name the target where the filesystem or a subvolume of it is mounted`;
}

/** What is received, and how it lies there. */
interface Kept {
  kind: BtrfsContents['kind'];
  hasChecksums: boolean;
  /** As `whyNoIncrement`. */
  noIncrement: string | undefined;
}

interface SendContext extends Kept {
  request: CopyRequest;
  onBytes: (bytes: number) => void;
}

/** A snapshot that was sent, and what the backup is to say of it. */
interface Sent {
  subvolume: SentSubvolume;
  part: SentPart;
}

class BtrfsSendEngine implements CopyEngine {
  readonly name = 'btrfs-send';
  readonly #run: typeof runCommand;

  constructor(run: typeof runCommand) {
    this.#run = run;
  }

  async preflight(): Promise<Record<string, string>> {
    return {
      btrfs: await versionOf(this.#run, 'btrfs', /v(\d\S*)/, 'btrfs-progs', 'btrfs-progs'),
      zstd: await versionOf(this.#run, 'zstd', /\bv(\d[\d.]*)/, 'zstd'),
      ...(await checkRsync(this.#run)),
    };
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#copy(request));
  }

  async #copy(request: CopyRequest): Promise<CopyResult> {
    const { dataDirectory, sources, digests } = request;
    const snapshots = await snapshotsToSend(this.name, sources);
    const mount = mountOfPath(await readMounts(), await realpath(dataDirectory));
    const kind = mount?.fstype === 'btrfs' ? 'received' : 'stream';
    const hasChecksums = mount !== undefined && makesChecksums(mount);
    const noIncrement = kind === 'received' && mount !== undefined ? await whyNoIncrement(mount) : undefined;
    await this.#clear(dataDirectory);

    const { sent, bytes } = await sendEach(snapshots, request, (snapshot, onBytes) =>
      this.#send(snapshot, { request, kind, hasChecksums, noIncrement, onBytes }),
    );
    const contents: BtrfsContents = {
      version: 1,
      kind,
      trees: snapshots.flatMap((snapshot) =>
        snapshot.trees.map(({ path: live, inside }) => ({
          path: live,
          subvolume: snapshot.ref.name,
          inside: path.join(pathOf(snapshot).inside, inside),
        })),
      ),
      subvolumes: sent.map(({ subvolume }) => subvolume),
    };
    return await resultOf(
      sent.map(({ part }) => part),
      { bytes, digests, contents: await writeContents(dataDirectory, contents) },
    );
  }

  /** What an attempt that was cut short left. */
  async #clear(dataDirectory: string): Promise<void> {
    await this.remove({ dataDirectory });
    for (const name of await readdir(dataDirectory)) await rm(path.join(dataDirectory, name));
  }

  async #send(snapshot: SnapshotToSend, context: SendContext): Promise<Sent> {
    const { request, kind, noIncrement } = context;
    const { snapshot: directory } = pathOf(snapshot);
    const subvolume = await readOwnSubvolume(directory);
    if (subvolume === undefined) {
      throw new FsbackupError('copyFailed', `the snapshot ${directory} is not there any more`, {
        hint: 'See who removes snapshots in that directory, and run it again.',
      });
    }
    const found =
      request.base === undefined
        ? undefined
        : (noIncrement ?? (await findBtrfsParent(subvolume, request.base, kind, this.#run)));
    const sent = await this.#transfer(snapshot, { subvolume, found, context });
    if (kind === 'stream' || typeof found !== 'object') return sent;
    const made = path.join(request.dataDirectory, sent.subvolume.name);
    if (await isMadeOf(made, found)) return sent;
    await deleteSubvolume(made);
    const other = 'btrfs receive took another subvolume than that of the backup before for its parent';
    return await this.#transfer(snapshot, { subvolume, found: other, context });
  }

  /** `found`: what it is to be an increment of, or why it is none. */
  async #transfer(
    snapshot: SnapshotToSend,
    {
      subvolume,
      found,
      context,
    }: { subvolume: Subvolume; found: BtrfsParent | string | undefined; context: SendContext },
  ): Promise<Sent> {
    const { request, kind, onBytes } = context;
    const { snapshot: directory } = pathOf(snapshot);
    const parent = typeof found === 'string' ? undefined : found;
    const { signal, limitBytesPerSecond } = request;
    // What is sent to another btrfs goes as it is, and a file is written packed.
    const through = new HashingStream(onBytes, kind === 'received' ? limitBytesPerSecond : undefined);
    const { name } = snapshot.ref;
    const file = path.join(request.dataDirectory, streamFile(name));
    const since = parent === undefined ? [] : ['-p', parent.snapshot];
    const send = async (to: Pick<Piped, 'to' | 'take'>): Promise<void> => {
      await mustPipe(
        { from: ['btrfs', 'send', '-q', ...since, directory], through, signal, ...to },
        this.#run,
      );
    };
    if (kind === 'received') await send({ to: ['btrfs', 'receive', '-q', request.dataDirectory] });
    else {
      const take = (stdinFrom: HashingStream): Promise<CommandResult> =>
        packInto(file, { stdinFrom, signal, limitBytesPerSecond }, this.#run);
      await withPrivateFile(file, () => send({ to: PACKER, take }));
    }
    requireSent(directory, through.head, { subvolume, parent: parent?.subvolume });
    const stored = [{ name: `${name}.btrfs`, sha256: through.digest(), bytes: through.bytes }];
    return {
      subvolume: await this.#describe(snapshot, { subvolume, parent, bytes: through.bytes, context }),
      part: {
        kept: { snapshot: snapshot.ref, identity: identityOf(subvolume) },
        warning:
          typeof found === 'string'
            ? `the backup of ${snapshot.ref.mountpoint} is a full one: ${found}`
            : undefined,
        // What was received is whole by itself: its parent may go.
        needs: kind === 'stream' ? parent?.backupId : undefined,
        stored: kind === 'stream' ? stored : [],
      },
    };
  }

  async #describe(
    { ref }: SnapshotToSend,
    sent: {
      subvolume: Subvolume;
      parent: BtrfsParent | undefined;
      bytes: number;
      context: SendContext;
    },
  ): Promise<SentSubvolume> {
    const { subvolume, parent, bytes, context } = sent;
    const { name } = ref;
    const description = {
      name,
      uuid: subvolume.uuid,
      bytes,
      ...(parent === undefined ? {} : { parent: { backupId: parent.backupId, name: parent.sent.name } }),
    };
    if (context.kind === 'stream') return description;
    const { dataDirectory } = context.request;
    // What is written back later is a change too.
    await withHeldFilesystems([dataDirectory], (held) => requireOnDisk(held, 'the copy'));
    const received = await readSubvolume(path.join(dataDirectory, name));
    if (received?.isReadOnly === true && received.receivedUuid !== undefined) {
      // What did not change is shared with the parent, as it lies there.
      const checksums = context.hasChecksums && (parent === undefined || parent.sent.checksums === true);
      const { receivedUuid, lastChange } = received;
      return { ...description, receivedUuid, lastChange, checksums };
    }
    throw new FsbackupError('copyFailed', `btrfs receive ended well, and ${name} is not whole`, {
      hint: 'See the kernel log (dmesg) for errors of the target disk, then run it again.',
    });
  }

  /** What was received lies there as it was. */
  async howToLook(dataDirectory: string): Promise<string | undefined> {
    const { kind, trees } = await readContents(dataDirectory);
    if (kind !== 'received') return undefined;
    const places = trees.map(
      ({ path: live, subvolume, inside }) => `${live} at ${path.join(dataDirectory, subvolume, inside)}`,
    );
    return `See it, read-only, where it lies: ${places.join(', ')}.`;
  }

  readonly choosesWhenOpen = true;
  readonly restoresUnder = true;

  restore(request: RestoreRequest): Promise<CopyResult> {
    return restoreOpened(request, btrfsOpener(this.#run), this.#run);
  }

  async checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    const findings = await checkOpened(request, btrfsOpener(this.#run), this.#run);
    const unproven = countUnproven(await readContents(request.dataDirectory));
    return { ...findings, withoutDigest: findings.withoutDigest + unproven };
  }

  roomToRestore(request: ListRequest): Promise<number> {
    return roomForBtrfs(request);
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyBtrfs(request, this.#run));
  }

  async remove({ dataDirectory }: Pick<RemoveRequest, 'dataDirectory'>): Promise<void> {
    for (const entry of await readdir(dataDirectory, { withFileTypes: true })) {
      const directory = path.join(dataDirectory, entry.name);
      if (!entry.isDirectory() || (await readSubvolume(directory)) === undefined) continue;
      try {
        await deleteSubvolume(directory);
      } catch (error) {
        throw new FsbackupError('cleanupIncomplete', `${directory} is not removed: ${messageOf(error)}`, {
          hint: `End what uses it, then run: fsbackup recover`,
        });
      }
    }
  }
}

/**
 * Sends snapshots of btrfs: full, then what changed since the one that was kept. Onto a btrfs as read-only subvolumes,
 * `<data>/NAME`, each whole by itself; elsewhere as what `btrfs send` writes, `<data>/NAME.btrfs.zst`, which needs those
 * that it is an increment of. `contents.json` tells which trees are where.
 */
export function createBtrfsSendEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new BtrfsSendEngine(run);
}
