import type { Writable } from 'node:stream';
import { FsbackupError } from '../../errors.js';
import type { CommandOptions, CommandResult, runCommand } from '../../system/run-command.js';
import { copyStopped, TARGET_REFUSES } from '../copy-error.js';
import { HashingStream } from '../stream-pipe.js';
import { UNPACK, type TarArchive } from './tar-archive.js';
import type { TargetPrograms } from '../target/target-programs.js';
import { under } from '../under.js';
import { suggested } from '../../system/command-line.js';

/** What is known of an archive that was given away. */
export interface ArchiveReference {
  job: string;
  backupId: string;
  bytes: number;
  sha256: string;
}

type Reading = (through: HashingStream) => Promise<CommandResult>;

/** An archive that a command of the target brings back, once for each time that it is read. */
export class FetchedArchive implements TarArchive {
  readonly name = 'the archive';
  /** What was found to be wrong with it by the readings that do not reject for that. */
  readonly problems: string[] = [];
  readonly #reference: ArchiveReference;
  readonly #programs: TargetPrograms;
  readonly #run: typeof runCommand;

  constructor(reference: ArchiveReference, programs: TargetPrograms, run: typeof runCommand) {
    this.#reference = reference;
    this.#programs = programs;
    this.#run = run;
  }

  async tar(
    mode: string,
    args: readonly string[],
    options: CommandOptions,
    wrapper?: readonly string[],
  ): Promise<CommandResult> {
    const argv = under(wrapper, 'tar', [mode, '--file=-', UNPACK, ...args]);
    const { result, problem } = await this.#read(options.signal, (through) =>
      this.#run(argv, { ...options, stdinFrom: through }),
    );
    // tar's own failure, of a full disk or by somebody who ended it, is what stopped the other one.
    if (problem === undefined || result.exitCode === undefined || TARGET_REFUSES.test(result.stderr))
      return result;
    throw new FsbackupError('copyFailed', `the backup did not come back as it was written: ${problem}`, {
      hint: `\`${suggested('backups verify', ['--full'])}\` tells what is wrong with it; do not rely on what was restored.`,
    });
  }

  async unpack(to: Writable, signal: AbortSignal): Promise<CommandResult> {
    const { result, problem } = await this.#read(signal, (through) =>
      this.#run(['zstd', '-q', '--decompress', '--stdout'], { signal, stdinFrom: through, stdoutTo: to }),
    );
    if (problem !== undefined) this.problems.push(problem);
    return result;
  }

  /** Reads it to its end, and looks whether it is what was written. */
  async readAll(signal: AbortSignal): Promise<void> {
    const { problem } = await this.#read(signal, async (through) => {
      through.resume();
      return {
        exitCode: 0,
        signal: undefined,
        notFound: false,
        timedOut: false,
        aborted: false,
        stdout: '',
        stderr: '',
      };
    });
    if (problem !== undefined) this.problems.push(problem);
  }

  /** Rejects when the command lost its connection, or was stopped. */
  async #read(
    signal: AbortSignal | undefined,
    reading: Reading,
  ): Promise<{ result: CommandResult; problem: string | undefined }> {
    const { job, backupId, bytes, sha256 } = this.#reference;
    const through = new HashingStream();
    const taken = reading(through);
    const [got, result] = await Promise.all([
      this.#programs
        .run(
          'read',
          { job, id: backupId },
          { stdoutTo: through, ...(signal === undefined ? {} : { signal }) },
        )
        .finally(() => {
          // It ended the stream, if it was ever started.
          if (!through.writableEnded) through.end();
        }),
      taken,
    ]);
    if (signal?.aborted === true) throw copyStopped();
    if (this.#programs.isLost('read', got)) throw this.#programs.failure('read', got);
    if (got.exitCode !== 0) return { result, problem: this.#programs.describe('read', got) };
    if (through.bytes !== bytes)
      return { result, problem: `${through.bytes} bytes came back, and ${bytes} were written` };
    const isSame = through.digest() === sha256;
    return { result, problem: isSame ? undefined : 'what came back is not what was written (SHA-256)' };
  }
}
