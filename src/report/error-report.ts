import { FsbackupError, messageOf } from '../errors.js';
import { exitCode } from '../exit-codes.js';
import type { ErrorReport } from './run-report.js';

/** What is told of anything that was thrown: an FsbackupError speaks for itself, all else is a bug (exit 70). */
export function toErrorReport(error: unknown): ErrorReport {
  if (error instanceof FsbackupError) {
    return { code: error.code, exitCode: error.exitCode, message: error.message, hint: error.hint };
  }
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
