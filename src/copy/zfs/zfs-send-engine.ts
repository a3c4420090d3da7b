import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { targetName, type BackupTarget } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import { runCommand } from '../../system/run-command.js';
import { CONTENTS } from '../filesystem/contents-file.js';
import { withCopyErrors } from '../copy-error.js';
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
import { checkOpened, restoreOpened } from '../filesystem/open-trees.js';
import { checkRsync } from '../rsync/rsync-version.js';
import { resultOf, sendEach, type SentPart } from '../filesystem/send-each.js';
import { snapshotsToSend } from '../filesystem/sent-snapshots.js';
import { versionOf } from '../tar/tar-version.js';
import {
  findZfsContents,
  readZfsContents,
  writeZfsContents,
  type SentZfsSnapshot,
  type ZfsContents,
} from './zfs-contents.js';
import { roomForZfs, zfsOpener } from './zfs-restore.js';
import { kindOf, planSending, type Sending } from './zfs-sending.js';
import { parseZfsPlace, ZfsStore } from './zfs-target.js';
import { sendToDataset, sendToFile } from './zfs-transfer.js';
import { verifyZfs } from './zfs-verify.js';
import { shellWord } from '../../system/command-line.js';

class ZfsSendEngine implements CopyEngine {
  readonly name = 'zfs-send';
  readonly #run: typeof runCommand;
  /** Undefined: the backups are files. */
  readonly #store: ZfsStore | undefined;

  constructor(target: BackupTarget, run: typeof runCommand) {
    this.#run = run;
    if (target.repository === undefined) return;
    const place = parseZfsPlace(target.repository.repository);
    if (place === undefined) {
      throw new FsbackupError('usage', `${targetName(target)} is no dataset of ZFS`, {
        hint: 'Write it as tank/backups, or ssh://user@host/tank/backups for one of another host.',
      });
    }
    this.#store = new ZfsStore(place, run);
  }

  async preflight(): Promise<Record<string, string>> {
    const zfs = await this.#run(['zfs', 'version'], { timeoutMs: 30_000 });
    const version = /zfs-(\d\S*)/.exec(zfs.stdout)?.[1];
    if (version === undefined) {
      throw new FsbackupError('usage', 'zfs is not installed, or its module is not loaded', {
        hint: 'Install it (apt install zfsutils-linux), or choose another engine.',
      });
    }
    return {
      zfs: version,
      zstd: await versionOf(this.#run, 'zstd', /\bv(\d[\d.]*)/, 'zstd'),
      ...(await checkRsync(this.#run)),
    };
  }

  async openRepository({ initialise }: { initialise: boolean }): Promise<string> {
    if (this.#store === undefined) throw new Error('zfs-send was given no dataset');
    return await this.#store.open(initialise);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#copy(request));
  }

  async #copy(request: CopyRequest): Promise<CopyResult> {
    const { dataDirectory, digests } = request;
    const store = this.#store;
    const snapshots = await snapshotsToSend(this.name, request.sources);
    for (const name of await readdir(dataDirectory))
      if (name !== CONTENTS) await rm(path.join(dataDirectory, name));
    const sendings: Sending[] = [];
    for (const [index, snapshot] of snapshots.entries())
      sendings.push(await planSending(snapshot, { request, index, store }));
    const contents = (sent: readonly SentZfsSnapshot[], isComplete: boolean): ZfsContents => ({
      version: 1,
      kind: kindOf(store),
      isComplete,
      trees: snapshots.flatMap(({ ref, trees }) =>
        trees.map((tree) => ({ path: tree.path, snapshot: ref.name, inside: tree.insideFilesystem })),
      ),
      snapshots: [...sent],
    });
    // What a dead run had received can be found by it.
    const planned = sendings.map(({ sent }) => sent);
    await writeZfsContents(dataDirectory, contents(planned, false));
    const { sent, bytes } = await sendEach(sendings, request, (sending, onBytes) =>
      this.#send(sending, request, onBytes),
    );
    const complete = contents(
      sent.map((one) => one.sent),
      true,
    );
    return await resultOf(
      sent.map(({ part }) => part),
      { bytes, digests, contents: await writeZfsContents(dataDirectory, complete) },
    );
  }

  async #send(
    sending: Sending,
    { dataDirectory, signal, limitBytesPerSecond }: CopyRequest,
    onBytes: (bytes: number) => void,
  ): Promise<{ sent: SentZfsSnapshot; part: SentPart }> {
    const { snapshot, source, parent, warning, sent } = sending;
    const transfer = { dataDirectory, signal, limitBytesPerSecond, onBytes, run: this.#run };
    const { bytes, sha256 } = await (this.#store === undefined
      ? sendToFile(sending, transfer)
      : sendToDataset(sending, this.#store, transfer));
    const isFile = this.#store === undefined;
    return {
      sent: { ...sent, bytes },
      part: {
        kept: { snapshot: snapshot.ref, identity: source.guid },
        warning,
        // What was received is whole by itself.
        needs: isFile ? parent?.backupId : undefined,
        stored: isFile ? [{ name: `${sent.name}.zfs`, sha256, bytes }] : [],
      },
    };
  }

  /** What was received into a pool of this host or another is there to be mounted. */
  async howToLook(dataDirectory: string): Promise<string | undefined> {
    const { kind, snapshots } = await readZfsContents(dataDirectory);
    if (kind !== 'dataset') return undefined;
    const host = this.#store?.place.host;
    const mounts = snapshots
      .filter((sent) => sent.kind === 'filesystem')
      .map(({ dataset = '', name }) => `mount -t zfs -o ro ${shellWord(`${dataset}@${name}`)} DIR`);
    if (mounts.length === 0) return undefined;
    return `Mount what was received${host === undefined ? '' : `, on ${host}`}: ${mounts.join('; ')}.`;
  }

  readonly choosesWhenOpen = true;
  readonly restoresUnder = true;

  restore(request: RestoreRequest): Promise<CopyResult> {
    return restoreOpened(request, zfsOpener(this.#store, this.#run), this.#run);
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return checkOpened(request, zfsOpener(this.#store, this.#run), this.#run);
  }

  roomToRestore(request: ListRequest): Promise<number> {
    return roomForZfs(request, this.#store);
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => verifyZfs(request, this.#store, this.#run));
  }

  async remove({ dataDirectory, backup }: RemoveRequest): Promise<void> {
    const contents = await findZfsContents(dataDirectory);
    if (contents?.kind !== 'dataset' || this.#store === undefined) return;
    const own = `${this.#store.place.dataset}/${backup.job}/`;
    for (const { dataset, name, guid } of contents.snapshots) {
      if (dataset === undefined || !dataset.startsWith(own)) continue;
      if (!contents.isComplete) await this.#store.abortReceive(dataset);
      const snapshot = `${dataset}@${name}`;
      if ((await this.#store.get('guid', snapshot)) === guid) await this.#store.destroy(snapshot);
      if ((await this.#store.get('guid', dataset)) === undefined) continue;
      if ((await this.#store.snapshotsOf(dataset)).length === 0) await this.#store.destroy(dataset);
    }
  }
}

/**
 * Sends snapshots of ZFS: full, then what changed since the one that was kept, raw where they are encrypted. To a
 * dataset (the repository: `tank/backups`, or `ssh://user@host/tank/backups`), where each is whole by itself, or as
 * what `zfs send` writes, `<data>/NAME.zfs.zst`, which needs those that it is an increment of.
 */
export function createZfsSendEngine(target: BackupTarget, run: typeof runCommand = runCommand): CopyEngine {
  return new ZfsSendEngine(target, run);
}
