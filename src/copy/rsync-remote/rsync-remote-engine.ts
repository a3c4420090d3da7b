import { targetName, type BackupTarget } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import { runCommand } from '../../system/run-command.js';
import { joinShellCommand, rsyncName, SshClient, type SshPlace } from '../../system/ssh-place.js';
import { withCopyErrors } from '../copy-error.js';
import { noDifferences } from '../digests/digest-compare.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  RemoveRequest,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../engine.js';
import type { FoundBackup } from '../repository/found-backup.js';
import { withSecrets } from '../repository/repository-program.js';
import { checkRestoredByRsync } from '../rsync/rsync-check-restored.js';
import { RsyncRemoteCopy } from './rsync-remote-copy.js';
import { foundBackupOf, listBytesOf } from './rsync-remote-found.js';
import { remotePlaceOf, remoteShell } from './rsync-remote-place.js';
import { remoteReference } from './rsync-remote-reference.js';
import { RsyncRemoteStore } from './rsync-remote-store.js';
import { restoreRsync, type StoredTree } from '../rsync/rsync-restore.js';
import { checkRsync } from '../rsync/rsync-version.js';
import { verifyRsync } from '../rsync/rsync-verify.js';
import { suggested } from '../../system/command-line.js';

class RsyncRemoteEngine implements CopyEngine {
  readonly name = 'rsync';
  readonly restoresInPlace = true;
  readonly #place: SshPlace;
  readonly #store: RsyncRemoteStore;
  readonly #copy: RsyncRemoteCopy;
  readonly #run: typeof runCommand;

  constructor(target: BackupTarget, run: typeof runCommand) {
    const { repository: settings } = target;
    this.#place = remotePlaceOf(target);
    if (settings === undefined) throw new Error('rsync was given no place');
    const ssh = new SshClient(this.#place, remoteShell(settings));
    const environment = { ...settings.environment, RSYNC_RSH: joinShellCommand(ssh.words) };
    // There is no password: no variable gets one.
    this.#run = withSecrets({ settings: { ...settings, environment }, password: '' }, run);
    this.#store = new RsyncRemoteStore({ place: this.#place, ssh, name: targetName(target) }, this.#run);
    this.#copy = new RsyncRemoteCopy({ place: this.#place, store: this.#store }, this.#run);
  }

  async preflight(): Promise<Record<string, string>> {
    return await checkRsync(this.#run);
  }

  async openRepository({
    initialise,
    signal,
  }: {
    initialise: boolean;
    signal?: AbortSignal;
  }): Promise<string> {
    const id = await this.#store.open(initialise, signal);
    await checkRsync(this.#store.runThere, `at ${this.#place.login}`);
    return id;
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return this.#copy.copy(request);
  }

  /** Undefined for one that is not there any more. */
  async #find(dataDirectory: string, signal: AbortSignal): Promise<StoredTree | undefined> {
    const backup = await remoteReference.read(dataDirectory);
    if (!(await this.#store.exists(backup, signal))) return undefined;
    const directory = this.#store.directoryOf(backup);
    return {
      directory,
      readFrom: rsyncName(this.#place, directory),
      args: ['-s'],
      runThere: this.#store.runThere,
    };
  }

  async #stored(dataDirectory: string, signal: AbortSignal): Promise<StoredTree> {
    const found = await this.#find(dataDirectory, signal);
    if (found !== undefined) return found;
    throw new FsbackupError('copyFailed', 'the backup is not there any more', {
      hint: `See who removed it at ${this.#place.login}; \`${suggested('backups list')}\` shows the others.`,
    });
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { dataDirectory, signal } = request;
      const result = await restoreRsync(request, await this.#stored(dataDirectory, signal), this.#run);
      // A removal renames it before anything of it goes. What went before rsync had its list is in no count.
      if ((await this.#find(dataDirectory, signal)) !== undefined) return result;
      const { job, backupId } = await remoteReference.read(dataDirectory);
      throw new FsbackupError('failed', `${job}@${backupId} was removed while it was restored`, {
        hint: `See who removed it at ${this.#place.login}; \`${suggested('backups list')}\` shows the others.`,
      });
    });
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const tree = await this.#find(request.dataDirectory, request.signal);
      const found = tree === undefined ? undefined : await verifyRsync(request, tree, this.#run);
      // A removal in the meantime looks like damage.
      const isThere = found !== undefined && (await this.#find(request.dataDirectory, request.signal));
      if (isThere) return found;
      const problems = ['it is not there any more'];
      return { ...noDifferences(), files: undefined, bytes: 0, problems };
    });
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { dataDirectory, signal } = request;
      const tree = await this.#stored(dataDirectory, signal);
      const findings = await checkRestoredByRsync(request, tree, this.#run);
      await this.#stored(dataDirectory, signal);
      return findings;
    });
  }

  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await remoteReference.mayExist(dataDirectory))) return;
    await this.#store.remove(backup, signal);
  }

  find(signal: AbortSignal): Promise<FoundBackup[]> {
    return withCopyErrors(async () =>
      (await this.#store.find(signal)).map((remote) => {
        const { job, backupId } = remote;
        const listBytes = listBytesOf(remote);
        const found = {
          version: 1,
          job,
          backupId,
          ...(listBytes === undefined ? {} : { listBytes }),
        } as const;
        return {
          ...foundBackupOf(remote),
          writeReference: (dataDirectory) => remoteReference.write(dataDirectory, found),
        };
      }),
    );
  }

  fetchDigests({
    dataDirectory,
    file,
    signal,
  }: {
    dataDirectory: string;
    file: string;
    signal: AbortSignal;
  }): Promise<boolean> {
    return withCopyErrors(async () => {
      const { listBytes = 0, ...backup } = await remoteReference.read(dataDirectory);
      return await this.#store.fetchList(backup, { file, sizeBytes: listBytes }, signal);
    });
  }
}

/**
 * Copies into a directory of another host, over ssh: the same tree as in one of this host, unchanged files hard-linked to
 * the parent backup there. What is broken off stays there as incomplete, and the next copy of the job goes on from it,
 * in this run or a later one. Content is read, and digests are made, at that end when it is verified.
 */
export function createRsyncRemoteEngine(
  target: BackupTarget,
  run: typeof runCommand = runCommand,
): CopyEngine {
  return new RsyncRemoteEngine(target, run);
}
