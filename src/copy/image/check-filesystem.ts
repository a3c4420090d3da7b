import { FsbackupError } from '../../errors.js';
import { describeFailure, type CommandResult, type runCommand } from '../../system/run-command.js';
import { copyStopped } from '../copy-error.js';
import { withMounts, type MountStep } from '../filesystem/mounted-trees.js';

/** How a filesystem in a file is looked at, and never written to. */
interface Checker {
  argv: (file: string) => [string, ...string[]];
  /** The package that brings it. */
  from: string;
}

const EXT: Checker = { argv: (file) => ['e2fsck', '-f', '-n', file], from: 'e2fsprogs' };
const CHECKERS: Readonly<Record<string, Checker>> = {
  ext2: EXT,
  ext3: EXT,
  ext4: EXT,
  xfs: { argv: (file) => ['xfs_repair', '-n', '-f', file], from: 'xfsprogs' },
  btrfs: { argv: (file) => ['btrfs', 'check', '--readonly', file], from: 'btrfs-progs' },
};

/** How a program says what it found, in its order of urgency. */
const TOLD = /error|corrupt|bad|invalid|inconsisten|mismatch|wrong|would|missing|FIXED|fix\?/i;
const MAX_TOLD = 5;

function told({ stdout, stderr }: CommandResult): string {
  const lines = `${stdout}\n${stderr}`.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => TOLD.test(line))
    .slice(0, MAX_TOLD)
    .join('; ');
}

/**
 * Has fsck look at a filesystem in a file, which is only read; tells what is wrong with it. One with a log to be
 * replayed, as after a power cut, is mounted for that once, and so written to: an XFS, and what was not taken frozen
 * (`clean`). Of a type
 * that no checker is known of nothing is told. Rejects with `usage` where the checker is not installed.
 */
export async function checkFilesystem(
  { source: file, at, fstype, clean }: Pick<MountStep, 'source' | 'at' | 'fstype'> & { clean: boolean },
  signal: AbortSignal,
  run: typeof runCommand,
): Promise<string[]> {
  const checker = CHECKERS[fstype];
  if (checker === undefined) return [];
  // XFS leaves its log dirty on purpose when it is frozen.
  if (!clean || fstype === 'xfs') {
    const options = fstype === 'xfs' ? 'loop,nouuid' : 'loop';
    const replay = await run(withMounts([{ fstype, options, source: file, at }], ['true']), { signal });
    if (signal.aborted) throw copyStopped();
    if (replay.exitCode !== 0)
      return [`the ${fstype} in its image cannot be mounted: ${describeFailure('mount', replay)}`];
  }
  const argv = checker.argv(file);
  const [program] = argv;
  const result = await run(argv, { signal });
  if (signal.aborted) throw copyStopped();
  if (result.notFound) {
    throw new FsbackupError('usage', `${program} is not installed, which is to check the ${fstype}`, {
      hint: `Install it: apt install ${checker.from}.`,
    });
  }
  if (result.exitCode === 0) return [];
  const said = told(result);
  return [
    `the ${fstype} in its image is damaged: ${said === '' ? describeFailure(program, result) : `${program}: ${said}`}`,
  ];
}
