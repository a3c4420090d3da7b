import { FsbackupError } from '../../errors.js';
import { describeFailure, type runCommand } from '../../system/run-command.js';
import { requireAnswer } from '../version-answer.js';

/** `--modify-window=-1`, nanoseconds, needs this (rsync(1)). */
const OLDEST: readonly [number, number, number] = [3, 1, 3];
const FEATURES = ['hardlinks', 'ACLs', 'xattrs'];

function isOlder(version: string): boolean {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10));
  for (const [index, wanted] of OLDEST.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part < wanted;
  }
  return false;
}

/**
 * The rsync on the PATH can do what the engine asks of it; `where` says of which host. Returns its version; rejects with
 * `usage`.
 */
export async function checkRsync(run: typeof runCommand, where?: string): Promise<Record<string, string>> {
  const there = where === undefined ? '' : ` ${where}`;
  const result = await run(['rsync', '--version'], { timeoutMs: 30_000 });
  requireAnswer('rsync', result);
  const version = /^rsync\s+version v?(\S+)/m.exec(result.stdout)?.[1];
  if (result.exitCode !== 0 || version === undefined) {
    throw new FsbackupError('usage', `${describeFailure('rsync', result)}${there}`, {
      hint: 'Install it (apt install rsync), or choose another engine.',
    });
  }
  if (isOlder(version)) {
    throw new FsbackupError('usage', `rsync ${version}${there} is older than ${OLDEST.join('.')}`, {
      hint: 'Install a later one, or choose another engine.',
    });
  }
  const lacking = FEATURES.filter((feature) => new RegExp(`\\bno ${feature}\\b`).test(result.stdout));
  if (lacking.length > 0) {
    throw new FsbackupError('usage', `the rsync${there} was built without ${lacking.join(' and ')}`, {
      hint: "Install the distribution's rsync, or choose another engine.",
    });
  }
  return { rsync: version };
}
