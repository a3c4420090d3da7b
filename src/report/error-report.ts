import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { exitCode } from '../exit-codes.js';
import type { ErrorReport } from './run-report.js';

/** A system call that was refused for want of a right. */
function withoutPermission(error: unknown, uid: number | undefined): ErrorReport {
  const code = uid === 0 ? 'failed' : 'usage';
  return {
    code,
    exitCode: exitCode(code),
    message: `no permission: ${messageOf(error)}`,
    hint:
      uid === 0
        ? 'See what forbids it even to root: NFS with root_squash, an immutable file, SELinux, a container without capabilities.'
        : 'Run fsbackup as root, with sudo for example.',
  };
}

/** What a system call answers when the host is at fault, whoever calls it. ENOENT and EINVAL may well be a bug. */
const HOST_FAULTS: ReadonlySet<string | undefined> = new Set([
  'EDQUOT',
  'EIO',
  'ELOOP',
  'EMFILE',
  'ENAMETOOLONG',
  'ENFILE',
  'ENOSPC',
  'ENOTDIR',
  'EROFS',
  'ESTALE',
]);

/** What helps where the filesystem is not what is wrong. */
const MORE_FILES: Readonly<Record<string, string>> = {
  EMFILE: 'Let it have more files open (`ulimit -n`, LimitNOFILE= of a unit), then run it again.',
  ENFILE: 'Let the host have more files open (`sysctl fs.file-max`), then run it again.',
};

function hostFault(error: unknown): ErrorReport {
  return {
    code: 'failed',
    exitCode: exitCode('failed'),
    message: messageOf(error),
    hint:
      MORE_FILES[errnoOf(error) ?? ''] ??
      'See what is wrong with what it names, or with the filesystem under that (dmesg), then run it again.',
  };
}

/** Node asks where it is for a path that is relative, and the answer is ENOENT once that directory is removed. */
function isWithoutDirectory(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === 'uv_cwd';
}

function withoutDirectory(): ErrorReport {
  return {
    code: 'usage',
    exitCode: exitCode('usage'),
    message: 'the working directory does not exist any more, and a path is relative to it',
    hint: 'Change to a directory that is there (`cd /`), or write paths that begin with /.',
  };
}

/**
 * What is told of anything that was thrown: an FsbackupError speaks for itself, a want of
 * permission is the user's or the host's, a fault of the host is the host's, all else is a bug (exit 70).
 */
export function toErrorReport(error: unknown, uid: number | undefined = process.geteuid?.()): ErrorReport {
  if (error instanceof FsbackupError) {
    const hint = [error.hint, ...error.below].join('\n');
    return { code: error.code, exitCode: error.exitCode, message: error.message, hint };
  }
  if (isWithoutDirectory(error)) return withoutDirectory();
  if (['EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return withoutPermission(error, uid);
  if (HOST_FAULTS.has(errnoOf(error))) return hostFault(error);
  return {
    code: 'bug',
    exitCode: exitCode('bug'),
    message: `a bug in fsbackup: ${messageOf(error)}`,
    hint: 'Run it again with DEBUG=1 and report it with the stack that this prints; `fsbackup status` shows what is held.',
  };
}

/** The object that every command prints on stdout when it fails and was asked for JSON. */
export function toErrorJson(error: ErrorReport): { version: 1; error: ErrorReport } {
  return { version: 1, error };
}
