import { createHash } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type {
  CopyBase,
  CopyEngine,
  CopyRequest,
  CopyResult,
  CopySource,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../../src/copy/engine.js';
import { compareTrees, countEntries } from './compare-trees.js';
import { copyRequest, restoreRequest, verifyWith, writeRandom } from './engine-requests.js';
import { must } from './throwaway-filesystem.js';

/** A snapshot that a test took, and where it can be read. */
export interface ExposedSnapshot {
  source: CopySource;
  readFrom: string;
  /** Hidden again, and kept. */
  hide: () => Promise<void>;
  /** Gone for good. */
  remove: () => Promise<void>;
}

/** Storage whose snapshots an engine sends, and a place to send them to. */
export interface SendWorld {
  engine: CopyEngine;
  /** The live filesystem. */
  mountpoint: string;
  /** Takes a snapshot of the live filesystem and exposes it. */
  snapshot: () => Promise<ExposedSnapshot>;
  /** Where `<job>/<id>/data` is made. */
  target: string;
  /** A directory on a filesystem of 24 MiB or so, of the kind that the target is on. */
  smallTarget: () => Promise<string>;
  /** Where restores go: takes all attributes. */
  scratch: string;
  /** Flips a byte of what a backup stores, below what keeps it whole. */
  flipByte: (dataDirectory: string) => Promise<void>;
  dispose: () => Promise<void>;
}

/** A backup that was made. */
export interface SentBackup {
  backupId: string;
  dataDirectory: string;
  digests: NonNullable<VerifyRequest['digests']>;
  result: CopyResult;
  base: CopyBase;
  sources: readonly CopySource[];
}

export const JOB = 'contract';

/** Where a snapshot lies that was taken before: an empty directory in the next one, which is not sent. */
function isOurs(name: string): boolean {
  return name.startsWith('.fsbackup-snapshots');
}

async function removeAll(directory: string): Promise<void> {
  await must('chattr', '-R', '-f', '-i', directory).catch(() => undefined);
  await rm(directory, { recursive: true });
}

/** Copies, restores and verifies in a world, each backup under a name of its own. */
export class SendHarness {
  readonly world: SendWorld;
  readonly engine: CopyEngine;
  #count = 0;

  constructor(world: SendWorld) {
    this.world = world;
    this.engine = world.engine;
  }

  /** Makes the live filesystem empty, and takes away what was restored. */
  async clear(): Promise<void> {
    const { mountpoint, scratch } = this.world;
    for (const name of await readdir(mountpoint)) {
      if (!name.startsWith('.fsbackup') && name !== 'lost+found')
        await removeAll(path.join(mountpoint, name));
    }
    for (const name of await readdir(scratch)) {
      if (name.startsWith('out-')) await removeAll(path.join(scratch, name));
    }
  }

  /** Fills a file of the live filesystem. */
  async random(name: string, mebibytes: number): Promise<void> {
    await writeRandom(path.join(this.world.mountpoint, name), mebibytes);
  }

  /** Names a backup and makes its directory. */
  async backup(at = this.world.target): Promise<CopyRequest['backup'] & { dataDirectory: string }> {
    this.#count += 1;
    const hash = createHash('sha256').update(String(this.#count)).digest('hex').slice(0, 6);
    const backupId = `20261123T184500Z-${hash}`;
    const dataDirectory = path.join(at, JOB, backupId, 'data');
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    return { job: JOB, backupId, dataDirectory };
  }

  /** A new backup, with digests. */
  async copy(
    sources: readonly CopySource[],
    { at, ...more }: Partial<CopyRequest> & { at?: string } = {},
  ): Promise<SentBackup> {
    const { dataDirectory, ...backup } = await this.backup(at);
    const file = path.join(path.dirname(dataDirectory), 'digests.gz');
    const digests = { file, parent: undefined };
    const result = await this.engine.copy(copyRequest(sources, dataDirectory, { backup, digests, ...more }));
    const { backupId } = backup;
    return {
      backupId,
      dataDirectory,
      digests: { file, algorithm: result.digests?.algorithm ?? '' },
      result,
      base: { backupId, dataDirectory, snapshots: result.keep ?? [] },
      sources,
    };
  }

  /** An empty directory in the scratch filesystem. */
  async out(): Promise<string> {
    this.#count += 1;
    const directory = path.join(this.world.scratch, `out-${this.#count}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  async restore(
    { dataDirectory, sources }: Pick<SentBackup, 'dataDirectory' | 'sources'>,
    destination: string,
    paths: readonly string[] = [],
    choose?: RestoreRequest['choose'],
  ): Promise<CopyResult> {
    const request = restoreRequest(sources, dataDirectory, destination, paths);
    return await this.engine.restore({ ...request, choose });
  }

  /** Compares what was restored of all of a backup with it. */
  async checkRestored(
    { dataDirectory, digests }: Pick<SentBackup, 'dataDirectory' | 'digests'>,
    restored: string,
  ): Promise<VerifyFindings | undefined> {
    return await this.engine.checkRestored?.({
      dataDirectory,
      restored,
      digests,
      notInBackup: [],
      scratch: await this.out(),
      signal: new AbortController().signal,
      onProgress: () => undefined,
    });
  }

  async verify(
    { dataDirectory, digests }: Pick<SentBackup, 'dataDirectory' | 'digests'>,
    mode: VerifyRequest['mode'] = 'full',
  ): Promise<VerifyFindings> {
    return await verifyWith(this.engine, { dataDirectory, digests, mode, scratch: await this.out() });
  }

  /** Restores a backup. Returns how it differs from a snapshot, and what the restore could not bring, or left. */
  async differences(
    made: Pick<SentBackup, 'dataDirectory' | 'sources'>,
    { readFrom }: Pick<ExposedSnapshot, 'readFrom'>,
  ): Promise<string[]> {
    const destination = await this.out();
    const { unreadable } = await this.restore(made, destination);
    const restored = path.join(destination, made.sources[0]?.path ?? '');
    const left = (await readdir(destination)).filter((name) => name.startsWith('.'));
    const found = [
      ...unreadable.map((name) => `${name} could not be restored`),
      ...(countEntries(restored) === 0 ? ['nothing was restored'] : []),
      ...(await compareTrees(readFrom, restored, { ignore: isOurs })),
      ...left.map((name) => `${name} was left behind`),
    ];
    await removeAll(destination);
    return found;
  }
}
