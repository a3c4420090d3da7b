import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { runCommand } from '../system/run-command.js';
import { exists } from '../system/exists.js';
import { CONTENTS } from './contents-file.js';
import { copyFailure, isRetryable, withCopyErrors } from './copy-error.js';
import type {
  CopyEngine,
  CopyRequest,
  CopyResult,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from './engine.js';
import { checkRsync } from './rsync-version.js';
import { writeSentDigests, type StoredFile } from './sent-digests.js';
import { snapshotsToSend, type SnapshotToSend } from './sent-snapshots.js';
import { HashingStream, pipePrograms } from './stream-pipe.js';
import { versionOf } from './tar-version.js';
import { targetName, type BackupTarget } from '../backup-target.js';
import {
  findZfsContents,
  writeZfsContents,
  zfsStreamFile,
  type SentZfsSnapshot,
  type ZfsContents,
} from './zfs-contents.js';
import { restoreZfs } from './zfs-restore.js';
import { findZfsParent, readZfsSource, type ZfsParent, type ZfsSource } from './zfs-source.js';
import { atPlaceOf, parseZfsPlace, ZfsStore } from './zfs-target.js';
import { verifyZfs } from './zfs-verify.js';

/** What is to be sent, and of what. */
interface Sending {
  snapshot: SnapshotToSend;
  source: ZfsSource;
  parent: ZfsParent | undefined;
  warning: string | undefined;
  sent: SentZfsSnapshot;
}

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
    const snapshots = await snapshotsToSend(this.name, request.sources);
    const kind = this.#store === undefined ? 'stream' : 'dataset';
    for (const name of await readdir(dataDirectory))
      if (name !== CONTENTS) await rm(path.join(dataDirectory, name));
    const sendings: Sending[] = [];
    for (const [index, snapshot] of snapshots.entries())
      sendings.push(await this.#prepare(snapshot, { index, kind, request }));
    const contents = (sent: SentZfsSnapshot[], isComplete: boolean): ZfsContents => ({
      version: 1,
      kind,
      isComplete,
      trees: snapshots.flatMap(({ ref, trees }) =>
        trees.map((tree) => ({ path: tree.path, snapshot: ref.name, inside: tree.insideFilesystem })),
      ),
      snapshots: sent,
    });
    // What a dead run had received can be found by it.
    const planned = sendings.map(({ sent }) => sent);
    await writeZfsContents(dataDirectory, contents(planned, false));

    const [sent, stored]: [SentZfsSnapshot[], StoredFile[]] = [[], []];
    let bytes = 0;
    for (const sending of sendings) {
      const before = bytes;
      const through = new HashingStream((more) => {
        bytes = before + more;
        request.onProgress({ bytes, files: sent.length });
      });
      await (this.#store === undefined
        ? this.#toFile(sending, through, request)
        : this.#toDataset(sending, through, { store: this.#store, request }));
      sent.push({ ...sending.sent, bytes: through.bytes });
      if (kind === 'stream')
        stored.push({ name: `${sending.sent.name}.zfs`, sha256: through.digest(), bytes: through.bytes });
    }
    stored.push(await writeZfsContents(dataDirectory, contents(sent, true)));
    request.onProgress({ bytes, files: sent.length });
    const needs = kind === 'stream' ? sendings.flatMap(({ parent }) => parent?.backupId ?? []) : [];
    return {
      bytes,
      files: sent.length,
      unreadable: [],
      keep: sendings.map(({ snapshot, source }) => ({ snapshot: snapshot.ref, identity: source.guid })),
      warnings: sendings.flatMap(({ warning }) => warning ?? []),
      ...(needs.length === 0 ? {} : { needs: [...new Set(needs)] }),
      ...(digests === undefined ? {} : { digests: await writeSentDigests(digests, stored) }),
    };
  }

  async #prepare(
    snapshot: SnapshotToSend,
    { index, kind, request }: { index: number; kind: ZfsContents['kind']; request: CopyRequest },
  ): Promise<Sending> {
    const { ref } = snapshot;
    const { base, backup } = request;
    const source = await readZfsSource(ref);
    if (source === undefined) {
      throw new FsbackupError('copyFailed', `the snapshot ${ref.name} is not there any more`, {
        hint: 'See who destroys snapshots in its pool, and run it again.',
      });
    }
    const contents =
      base === undefined ? undefined : await findZfsContents(base.dataDirectory).catch(() => undefined);
    const isThere = (sent: SentZfsSnapshot): Promise<boolean> =>
      this.#isThere(sent, { base: base?.dataDirectory ?? '', next: source.guid });
    const found =
      base === undefined ? undefined : await findZfsParent(base, { ref, source, kind, contents, isThere });
    const parent = typeof found === 'string' ? undefined : found;
    const place = this.#store?.place.dataset;
    const dataset =
      place === undefined
        ? {}
        : { dataset: parent?.sent.dataset ?? `${place}/${backup.job}/${backup.backupId}-${index}` };
    return {
      snapshot,
      source,
      parent,
      warning:
        typeof found === 'string' ? `the backup of ${ref.mountpoint} is a full one: ${found}` : undefined,
      sent: {
        name: ref.name,
        origin: ref.data['dataset'] ?? '',
        kind: ref.data['kind'] === 'volume' ? 'volume' : 'filesystem',
        isRaw: source.isEncrypted,
        guid: source.guid,
        ...dataset,
        bytes: 0,
        ...(parent === undefined ? {} : { parent: { backupId: parent.backupId, name: parent.sent.name } }),
      },
    };
  }

  /** Whether an increment of it can be added to where it is: nothing came after it, but what is to be sent itself. */
  async #isThere(sent: SentZfsSnapshot, { base, next }: { base: string; next: string }): Promise<boolean> {
    if (this.#store === undefined) return await exists(path.join(base, zfsStreamFile(sent.name)));
    if (sent.dataset === undefined) return false;
    const snapshots = await this.#store.snapshotsOf(sent.dataset);
    const guids: (string | undefined)[] = [];
    for (const name of snapshots.slice(-2)) guids.push(await this.#store.get('guid', name));
    if (guids.at(-1) === next) guids.pop();
    return guids.at(-1) === sent.guid;
  }

  async #toFile(
    { source, parent, sent }: Sending,
    through: HashingStream,
    request: CopyRequest,
  ): Promise<void> {
    const file = path.join(request.dataDirectory, zfsStreamFile(sent.name));
    const to = ['zstd', '-q', '-T0', '-f', '-o', file] as const;
    await this.#pipe(sendCommand(source, parent), to, { through, signal: request.signal });
  }

  async #toDataset(
    { source, parent, sent }: Sending,
    through: HashingStream,
    { store, request }: { store: ZfsStore; request: CopyRequest },
  ): Promise<void> {
    const { dataset = '' } = sent;
    const { signal } = request;
    // An earlier attempt's, whose success nobody heard of.
    if ((await store.get('guid', `${dataset}@${sent.name}`)) === source.guid) return;
    if (parent === undefined) await this.#makeAbove(dataset, store);
    const set = [
      '-o',
      'readonly=on',
      // A dataset that nobody mounts by chance, with the owners and modes of another host.
      ...(sent.kind === 'filesystem' ? ['-o', 'canmount=noauto'] : []),
      // Properties are not sent, and this one decides whether there are ACLs.
      ...(source.acltype === '-' ? [] : ['-o', `acltype=${source.acltype}`]),
    ];
    const receive = (args: readonly string[]) =>
      atPlaceOf(store.place, ['zfs', 'receive', '-s', '-u', ...args, `${dataset}@${sent.name}`]);
    const token = await store.get('receive_resume_token', dataset);
    const first = parent === undefined ? set : [];
    if (token === undefined) {
      await this.#pipe(sendCommand(source, parent), receive(first), { through, signal });
      return;
    }
    try {
      await this.#pipe(['zfs', 'send', '-t', token], receive([]), { through, signal });
    } catch (error) {
      if (signal.aborted || isRetryable(error)) throw error;
      // A token of what is no longer to be sent: begun anew by the next attempt.
      await store.abortReceive(dataset);
      throw error;
    }
  }

  async #makeAbove(dataset: string, store: ZfsStore): Promise<void> {
    const above = dataset.slice(0, dataset.lastIndexOf('/'));
    const made = await store.zfs('create', '-p', '-o', 'canmount=off', above);
    if (made.exitCode !== 0 && !/already exists/.test(made.stderr)) throw copyFailure('zfs', made);
  }

  async #pipe(
    from: readonly [string, ...string[]],
    to: readonly [string, ...string[]],
    { through, signal }: { through: HashingStream; signal: AbortSignal },
  ): Promise<void> {
    const { sent, taken } = await pipePrograms({ from, to, through, signal }, this.#run);
    // 255 is ssh's own: the connection.
    if (taken.exitCode !== 0) throw copyFailure(to[0], taken, to[0] === 'ssh' && taken.exitCode === 255);
    if (sent.exitCode !== 0) throw copyFailure(from[0], sent);
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() => restoreZfs(request, this.#store, this.#run));
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

/** zfs-send(8): large blocks, compressed and embedded ones as they are; encrypted ones too, unread. No properties. */
function sendCommand(source: ZfsSource, parent: ZfsParent | undefined): [string, ...string[]] {
  const since = parent === undefined ? [] : ['-i', parent.full];
  return ['zfs', 'send', source.isEncrypted ? '-Lcew' : '-Lce', ...since, source.full];
}

/**
 * Sends snapshots of ZFS: full, then what changed since the one that was kept, raw where they are encrypted. To a
 * dataset (the repository: `tank/backups`, or `ssh://user@host/tank/backups`), where each is whole by itself, or as
 * what `zfs send` writes, `<data>/NAME.zfs.zst`, which needs those that it is an increment of.
 */
export function createZfsSendEngine(target: BackupTarget, run: typeof runCommand = runCommand): CopyEngine {
  return new ZfsSendEngine(target, run);
}
