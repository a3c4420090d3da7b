import { FsbackupError } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { requireAnswer } from '../version-answer.js';

/** The version that `program --version` tells. Rejects with `usage` when it is not there, or not `description`. */
export async function versionOf(
  run: typeof runCommand,
  program: string,
  pattern: RegExp,
  description: string,
  debianPackage = program,
): Promise<string> {
  const result = await run([program, '--version'], { timeoutMs: 30_000 });
  requireAnswer(program, result);
  const version = pattern.exec(result.stdout)?.[1];
  if (result.exitCode === 0 && version !== undefined) return version;
  const message =
    result.exitCode === 0
      ? `the ${program} on the PATH is not ${description}`
      : describeFailure(program, result);
  throw new FsbackupError('usage', message, {
    hint: `Install ${description} (apt install ${debianPackage}), or choose another engine.`,
  });
}

/** GNU tar and zstd are there. Returns their versions; rejects with `usage`. */
export async function checkTar(run: typeof runCommand): Promise<Record<string, string>> {
  return {
    tar: await versionOf(run, 'tar', /^tar \(GNU tar\) (\S+)/m, 'GNU tar'),
    zstd: await versionOf(run, 'zstd', /\bv(\d[\d.]*)/, 'zstd'),
  };
}
