import { exitCode, type ExitName } from './exit-codes.js';

/** What an error says beside its message. */
export interface ErrorDetails {
  /** The line that says what to do about it; an imperative sentence. */
  hint: string;
  /** Lines to be copied as they are, told below the hint. */
  below?: readonly string[];
  cause?: unknown;
}

/**
 * The only error that fsbackup throws on purpose: a line of what, a line of what to do, and the exit code.
 * Anything else that reaches the top is a bug (exit 70).
 */
export class FsbackupError extends Error {
  /** Stable machine-readable name, e.g. `freezeLost`; the key of its exit code. */
  readonly code: ExitName;
  readonly hint: string;
  readonly below: readonly string[];

  constructor(code: ExitName, message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'FsbackupError';
    this.code = code;
    this.hint = details.hint;
    this.below = details.below ?? [];
  }

  /** What is told of it to people, line by line. Names in them may hold anything. */
  get lines(): readonly string[] {
    return [this.message, this.hint, ...this.below];
  }

  /** The number a process that ends with this error exits with. */
  get exitCode(): number {
    return exitCode(this.code);
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The same, and what to do where that is known: for where both share a line. */
export function adviceOf(error: unknown): string {
  const message = messageOf(error);
  return error instanceof FsbackupError ? `${message}. ${error.hint}` : message;
}

/** The errno name (`ENOENT`) of a system error, or undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
