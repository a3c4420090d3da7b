import * as z from 'zod';
import type { BackupTarget } from '../../backup-target.js';
import { runCommand } from '../../system/run-command.js';
import { copyStopped, withCopyErrors } from '../copy-error.js';
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
import { PACKER } from '../packed-file.js';
import { GatedStream } from './gated-stream.js';
import { ReferenceFile } from '../repository/reference.js';
import { CommandRepository } from './stored-by-commands.js';
import { checkRestoredByTar } from '../tar/tar-check-restored.js';
import { FetchedArchive, type ArchiveReference } from '../tar/tar-fetched-archive.js';
import { packSources } from '../tar/tar-pack.js';
import { restoreTar } from '../tar/tar-restore.js';
import { verifyMembers } from '../tar/tar-verify.js';
import { checkTar } from '../tar/tar-version.js';
import { TargetPrograms } from '../target/target-programs.js';

const SIZE_TIMEOUT_MS = 120_000;

const reference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** Of the packed archive. */
    bytes: z.number(),
    sha256: z.string(),
  }),
);

class TarCommandEngine implements CopyEngine {
  readonly name = 'tar';
  readonly restoresInPlace = true;
  readonly #run: typeof runCommand;
  readonly #programs: TargetPrograms;
  readonly #repository: CommandRepository<z.ZodType>;

  constructor(target: BackupTarget, run: typeof runCommand) {
    this.#run = run;
    this.#programs = new TargetPrograms(this.name, target, run);
    this.#repository = new CommandRepository(target, this.#programs, reference);
  }

  async preflight(): Promise<Record<string, string>> {
    await this.#programs.requirePrograms();
    return await checkTar(this.#run);
  }

  openRepository({ signal }: { signal?: AbortSignal | undefined }): Promise<string> {
    return this.#repository.open(signal);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(async () => {
      const { dataDirectory, backup } = request;
      await reference.announce(dataDirectory);
      const { result, bytes, sha256 } = await this.#store(request);
      const stored: ArchiveReference = { ...backup, bytes, sha256 };
      const problem = await this.#wrongSize(stored, request.signal);
      if (problem !== undefined) throw this.#programs.failureOf(problem);
      await reference.write(dataDirectory, { version: 1, ...stored });
      return result;
    });
  }

  /** tar to zstd to the command, which learns that its input has ended only when both have done their part. */
  async #store(request: CopyRequest): Promise<{ result: CopyResult; bytes: number; sha256: string }> {
    const { backup, signal, limitBytesPerSecond } = request;
    const gate = new GatedStream(limitBytesPerSecond);
    const stop = new AbortController();
    const packing = packSources(
      request,
      {
        name: PACKER[0],
        take: (stream) => this.#run(PACKER, { signal, stdinFrom: stream, stdoutTo: gate.inlet }),
      },
      this.#run,
    ).then(
      (result) => {
        gate.end();
        return { result };
      },
      (error: unknown) => {
        stop.abort();
        return { error };
      },
    );
    let hasEnded = false;
    const written = this.#programs
      .run(
        'write',
        { job: backup.job, id: backup.backupId },
        { signal: AbortSignal.any([signal, stop.signal]), stdinFrom: gate },
      )
      .finally(() => {
        hasEnded = !stop.signal.aborted;
        // zstd must not wait for ever for somebody who reads on.
        gate.destroy();
      });
    const [packed, stored] = await Promise.all([packing, written]);
    if (signal.aborted) throw copyStopped();
    // First who stopped the other one: a broken pipe is no news when the command failed.
    if (hasEnded && (stored.exitCode !== 0 || stored.inputCutShort === true))
      throw this.#programs.failure('write', stored);
    if ('error' in packed) throw packed.error;
    return { result: packed.result, bytes: gate.bytes, sha256: gate.digest() };
  }

  /** What is wrong with how much is stored, where a command tells. */
  async #wrongSize(
    { job, backupId, bytes }: ArchiveReference,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (!this.#programs.has('size')) return undefined;
    const result = await this.#programs.run(
      'size',
      { job, id: backupId },
      { signal, timeoutMs: SIZE_TIMEOUT_MS },
    );
    if (signal.aborted) throw copyStopped();
    if (this.#programs.isLost('size', result)) throw this.#programs.failure('size', result);
    if (result.exitCode !== 0) return `its size cannot be told: ${this.#programs.describe('size', result)}`;
    const told = result.stdout.trim();
    if (!/^\d+$/.test(told))
      return `its size cannot be told: commands.size prints ${JSON.stringify(told.slice(0, 80))}`;
    return Number(told) === bytes ? undefined : `${told} bytes are stored, and ${bytes} were written`;
  }

  async #archive(dataDirectory: string): Promise<FetchedArchive> {
    return new FetchedArchive(await reference.read(dataDirectory), this.#programs, this.#run);
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(async () =>
      restoreTar(request, await this.#archive(request.dataDirectory), this.#run),
    );
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const { mode, signal, dataDirectory } = request;
      const archive = await this.#archive(dataDirectory);
      const nothing = { ...noDifferences(), files: undefined, bytes: 0 };
      if (mode === 'full') {
        const findings = await verifyMembers(request, archive);
        return { ...findings, problems: [...archive.problems, ...findings.problems] };
      }
      if (this.#programs.has('size')) {
        const problem = await this.#wrongSize(await reference.read(dataDirectory), signal);
        return { ...nothing, problems: problem === undefined ? [] : [problem] };
      }
      await archive.readAll(signal);
      return { ...nothing, problems: archive.problems };
    });
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(async () => {
      const archive = await this.#archive(request.dataDirectory);
      const findings = await checkRestoredByTar(request, archive);
      return { ...findings, problems: [...archive.problems, ...findings.problems] };
    });
  }

  remove(request: RemoveRequest): Promise<void> {
    return this.#repository.remove(request);
  }
}

/**
 * Copies into one archive, as the tar engine does, that a command of the target's own stores (`write`) and another one
 * brings back (`read`). What comes back is compared with the SHA-256 of what was written. `verify` reads it back; where
 * `size` tells how much is stored, a quick one asks for that alone. Nothing of it lies on this host: restoring paths
 * reads the archive more than once.
 */
export function createTarCommandEngine(
  target: BackupTarget,
  run: typeof runCommand = runCommand,
): CopyEngine {
  return new TarCommandEngine(target, run);
}
