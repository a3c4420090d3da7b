import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { readBlockStack } from '../../system/block-stack.js';
import { runCommand } from '../../system/run-command.js';
import { copyFailure, withCopyErrors } from '../copy-error.js';
import type {
  CheckRestoredRequest,
  CopyBase,
  CopyEngine,
  CopyRequest,
  CopyResult,
  ImageRestoreRequest,
  KeptSnapshot,
  ListRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../engine.js';
import { complementOf, intersectionOf, normaliseExtents, type Extent } from './extents.js';
import { readImageContents, writeImageContents, type StoredImage } from './image-contents.js';
import { imageOpener, restoreWholeImage, roomForImages } from './image-restore.js';
import { verifyImages } from './image-verify.js';
import { writeImage } from './image-writer.js';
import { checkOpened, restoreOpened } from '../filesystem/open-trees.js';
import { checkRsync } from '../rsync/rsync-version.js';
import { resultOf, sendEach, type SentPart } from '../filesystem/send-each.js';
import { snapshotsToSend, type SnapshotToSend } from '../filesystem/sent-snapshots.js';
import { versionOf } from '../tar/tar-version.js';
import { readThinFacts } from './thin-base.js';
import { readFreeExtents } from './used-extents.js';

/** What of a device is to be read, and what is known to be zero. */
interface Selection {
  extents: Extent[];
  zeros: Extent[];
  parent?: NonNullable<StoredImage['parent']>;
  kept?: KeptSnapshot;
  warning?: string;
}

interface Imaged {
  image: StoredImage;
  part: SentPart;
}

class ImageEngine implements CopyEngine {
  readonly name = 'image';
  readonly #run: typeof runCommand;

  constructor(run: typeof runCommand) {
    this.#run = run;
  }

  async preflight(): Promise<Record<string, string>> {
    return {
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
    for (const name of await readdir(dataDirectory)) await rm(path.join(dataDirectory, name));
    const { sent, bytes } = await sendEach(snapshots, request, (snapshot, onBytes) =>
      this.#image(snapshot, request, onBytes),
    );
    const contents = await writeImageContents(dataDirectory, {
      version: 1,
      trees: snapshots.flatMap(({ ref, trees }) =>
        trees.map((tree) => ({ path: tree.path, image: ref.name, inside: tree.insideFilesystem })),
      ),
      images: sent.map(({ image }) => image),
    });
    return await resultOf(
      sent.map(({ part }) => part),
      { bytes, digests, contents },
    );
  }

  async #image(
    { ref, majorMinor }: SnapshotToSend,
    request: CopyRequest,
    onBytes: (bytes: number) => void,
  ): Promise<Imaged> {
    const [top] = (await readBlockStack(majorMinor)) ?? [];
    if (top === undefined) {
      throw new FsbackupError('usage', `${ref.mountpoint} does not lie on a block device`, {
        hint: 'Choose another engine for it: rsync, tar, or the one that sends such snapshots.',
      });
    }
    const device = `/dev/${top.name.replaceAll('!', '/')}`;
    const sized = await this.#run(['blockdev', '--getsize64', device], { timeoutMs: 30_000 });
    const sizeBytes = Number(sized.stdout.trim());
    if (sized.exitCode !== 0) throw copyFailure('blockdev', sized);
    const selection = await this.#select(ref, { device, sizeBytes, request });
    const { dataDirectory, signal, limitBytesPerSecond } = request;
    const { extents, zeros, parent } = selection;
    const { name } = ref;
    const written = await writeImage(
      { device, name, extents, zeros, dataDirectory, signal, limitBytesPerSecond, onBytes },
      this.#run,
    );
    const image = {
      name,
      fstype: ref.fstype,
      clean: ref.takenFrozen,
      sizeBytes,
      storedBytes: written.storedBytes,
      ...(parent === undefined ? {} : { parent }),
    };
    const { kept, warning } = selection;
    return { image, part: { kept, warning, needs: parent?.backupId, stored: [written.map] } };
  }

  /** The image that the base's backup has of the same volume. */
  async #parentOf(base: CopyBase, ref: SnapshotToSend['ref']): Promise<StoredImage['parent']> {
    const kept = base.snapshots.find(
      ({ snapshot }) => snapshot.data['originUuid'] === ref.data['originUuid'],
    );
    const contents = await readImageContents(base.dataDirectory).catch(() => undefined);
    const image = contents?.images.find(({ name }) => name === kept?.snapshot.name);
    return image === undefined ? undefined : { backupId: base.backupId, name: image.name };
  }

  async #select(
    ref: SnapshotToSend['ref'],
    { device, sizeBytes, request }: { device: string; sizeBytes: number; request: CopyRequest },
  ): Promise<Selection> {
    const { base, journal } = request;
    const parent = base === undefined ? undefined : await this.#parentOf(base, ref);
    const thin = await readThinFacts(ref, parent === undefined ? undefined : base, journal);
    const lostParent =
      base !== undefined && parent === undefined && thin !== undefined
        ? `the backup ${base.backupId} does not have what it is to be an increment of`
        : undefined;
    const problem = thin?.problem ?? lostParent;
    const more = {
      ...(thin === undefined || thin.identity === ''
        ? {}
        : { kept: { snapshot: ref, identity: thin.identity } }),
      ...(problem === undefined
        ? {}
        : { warning: `the image of ${ref.mountpoint} is a full one: ${problem}` }),
    };
    if (thin?.increment !== undefined && parent !== undefined) {
      const { changed, dropped } = thin.increment;
      return {
        extents: normaliseExtents(changed, sizeBytes),
        zeros: normaliseExtents(dropped, sizeBytes),
        parent,
        ...more,
      };
    }
    const whole = [{ offset: 0, length: sizeBytes }];
    const mapped = thin?.mapped === undefined ? whole : normaliseExtents(thin.mapped, sizeBytes);
    const isExt = /^ext[234]$/.test(ref.fstype) && ref.takenFrozen;
    const free = isExt ? await readFreeExtents(device, this.#run) : undefined;
    const used = free === undefined ? whole : complementOf(normaliseExtents(free, sizeBytes), sizeBytes);
    return {
      extents: intersectionOf(mapped, used),
      // What a pool has no block for reads as zeros, and may be part of a file.
      zeros: intersectionOf(complementOf(mapped, sizeBytes), used),
      ...more,
    };
  }

  /** Its filesystem can be had whole. */
  howToLook(): Promise<string | undefined> {
    return Promise.resolve(
      'Write its filesystem to a file, and mount that: fsbackup restore … --image --to FILE; mount -o loop,ro FILE DIR.',
    );
  }

  readonly choosesWhenOpen = true;
  readonly restoresUnder = true;

  restore(request: RestoreRequest): Promise<CopyResult> {
    return restoreOpened(request, imageOpener(this.#run), this.#run);
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return checkOpened(request, imageOpener(this.#run), this.#run);
  }

  roomToRestore({ dataDirectory }: ListRequest): Promise<number> {
    return roomForImages(dataDirectory);
  }

  restoreImage(request: ImageRestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() => restoreWholeImage(request, this.#run));
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyImages(request, this.#run));
  }
}

/**
 * Copies the block device that a snapshot's filesystem lies on: `<data>/NAME.chunks.zst`, what is used of it, and
 * `NAME.map`, where each piece belongs and its SHA-256. Of a thin volume of LVM, later ones hold only what changed since
 * the snapshot that was kept. `contents.json` tells which trees are where.
 */
export function createImageEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new ImageEngine(run);
}
