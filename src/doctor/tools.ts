import { checkRsync } from '../copy/rsync/rsync-version.js';
import { FsbackupError } from '../errors.js';
import { findCommand } from '../system/find-command.js';
import { runAtMost } from '../system/run-at-most.js';
import { CHILD_PATH, runCommand } from '../system/run-command.js';
import type { Need, ToolState } from './facts.js';

interface Tool {
  program: string;
  package: string;
  need: Need;
  /** Prints its version, on stdout or stderr. */
  ask: readonly string[];
  version: RegExp;
}

const UTIL_LINUX = /util-linux (\d[\w.]*)/;

const TOOLS: readonly Tool[] = [
  { program: 'mount', package: 'mount', need: 'every run', ask: ['--version'], version: UTIL_LINUX },
  { program: 'umount', package: 'mount', need: 'every run', ask: ['--version'], version: UTIL_LINUX },
  { program: 'stat', package: 'coreutils', need: 'every run', ask: ['--version'], version: /\) (\d\S*)/ },
  {
    program: 'rsync',
    package: 'rsync',
    need: 'engine rsync',
    ask: ['--version'],
    version: /version v?(\S+)/,
  },
  { program: 'tar', package: 'tar', need: 'every run', ask: ['--version'], version: /GNU tar\) (\S+)/ },
  { program: 'zstd', package: 'zstd', need: 'engine tar', ask: ['--version'], version: /\bv(\d[\d.]*)/ },
  { program: 'restic', package: 'restic', need: 'engine restic', ask: ['version'], version: /restic (\S+)/ },
  { program: 'borg', package: 'borgbackup', need: 'engine borg', ask: ['--version'], version: /borg (\S+)/ },
  {
    program: 'btrfs',
    package: 'btrfs-progs',
    need: 'provider btrfs',
    ask: ['--version'],
    version: /v(\d\S*)/,
  },
  {
    program: 'lvs',
    package: 'lvm2',
    need: 'provider lvm',
    ask: ['--version'],
    version: /LVM version:\s+(\S+)/,
  },
  {
    program: 'dmsetup',
    package: 'dmsetup',
    need: 'provider lvm',
    ask: ['--version'],
    version: /version:\s+(\S+)/,
  },
  { program: 'zfs', package: 'zfsutils-linux', need: 'provider zfs', ask: ['version'], version: /zfs-(\S+)/ },
  { program: 'mkfs.ext4', package: 'e2fsprogs', need: 'the self-test', ask: ['-V'], version: /mke2fs (\S+)/ },
];

const VERSION_TIMEOUT_MS = 10_000;

/** What the engine itself asks of its program. */
async function unfitness(program: string): Promise<ToolState['unfit']> {
  if (program !== 'rsync') return undefined;
  try {
    await checkRsync(runCommand);
    return undefined;
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    return { message: error.message, hint: error.hint };
  }
}

async function look(tool: Tool): Promise<ToolState> {
  const { program, need, ask } = tool;
  const known = { program, package: tool.package, need };
  if (!('file' in (await findCommand(program, CHILD_PATH)))) {
    return { ...known, isInstalled: false, version: undefined, unfit: undefined };
  }
  const { stdout, stderr } = await runAtMost([program, ...ask], { timeoutMs: VERSION_TIMEOUT_MS });
  const version = tool.version.exec(`${stdout}\n${stderr}`)?.[1];
  return { ...known, isInstalled: true, version, unfit: await unfitness(program) };
}

/** Looks for all programs that some run may start. Never rejects for one of them. */
export async function readTools(): Promise<ToolState[]> {
  return await Promise.all(TOOLS.map(look));
}
