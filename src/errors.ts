import { constants } from 'node:os';
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

/** Something cannot be released, since the storage that it lies on is not to be seen: taken away for now, or for good. */
export class AbsentStorageError extends FsbackupError {
  /** What is left there, named so that a person finds it: a noun and where it is. */
  readonly left: string;
  /** Resolves to the device of this host that has that storage all the same; undefined where none has. */
  readonly findDevice: () => Promise<string | undefined>;

  constructor(message: string, details: ErrorDetails & Pick<AbsentStorageError, 'left' | 'findDevice'>) {
    super('cleanupIncomplete', message, details);
    this.left = details.left;
    this.findDevice = details.findDevice;
  }
}

/** How Node calls an errno that libuv has no name for: EDQUOT and ESTALE among others. */
const UNNAMED = /Unknown system error -(\d+)/g;

/** Linux alone has it: what a filesystem says that is damaged. */
const EUCLEAN = 117;

function withErrnoNames(text: string): string {
  return text.replaceAll(UNNAMED, (unnamed, number: string) => {
    const found = Object.entries({ ...constants.errno, EUCLEAN }).find(
      ([, errno]) => errno === Number(number),
    );
    return found?.[0] ?? unnamed;
  });
}

/** What strerror(3) says of those that a full, lost or damaged target answers. */
const WORDS: Readonly<Record<string, string>> = {
  EBADMSG: 'bad message',
  EDQUOT: 'disk quota exceeded',
  ESTALE: 'stale file handle',
  EUCLEAN: 'structure needs cleaning',
};

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node writes the name twice, the second time for want of words.
  return withErrnoNames(error.message).replace(
    /^(E[A-Z]+): \1\b/,
    (_, name: string) => `${name}: ${WORDS[name] ?? name}`,
  );
}

/** Text that more is told after: with its full stop, and one. */
export function asSentence(text: string): string {
  return text.endsWith('.') ? text : `${text}.`;
}

/** The same, and what to do where that is known: for where both share a line. */
export function adviceOf(error: unknown): string {
  const message = messageOf(error);
  return error instanceof FsbackupError ? `${asSentence(message)} ${error.hint}` : message;
}

/** The errno name (`ENOENT`) of a system error, or undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? withErrnoNames(error.code) : undefined;
}
