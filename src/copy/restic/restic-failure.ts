import { FsbackupError } from '../../errors.js';
import { describeFailure, type CommandResult } from '../../system/run-command.js';
import { copyFailure, isRefusal, isRetryable } from '../copy-error.js';
import { describeLock, isLocked } from './restic-locks.js';

/** restic's exit codes since 0.17; before, and for other ends, its words tell. */
const NO_REPOSITORY = 10;
const WRONG_PASSWORD = 12;

/** What Go's network code says of a connection that ended or cannot be made. */
const LOST =
  /connection (?:refused|reset|timed out)|broken pipe|i\/o timeout|unexpected EOF|no route to host|network is unreachable|TLS handshake timeout|server misbehaving|ssh command exited|connection lost/i;

/** What S3, a REST server and a filesystem say of somebody whom they do not let in. */
const DENIED =
  /signature we calculated does not match|Access Key Id you provided does not exist|access denied|permission denied|unexpected HTTP response \(40[13]\)/i;

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/** How the failure of a restic on a repository, `name` for people, is to be told. */
export function resticFailure(name: string, result: CommandResult, lost = false): FsbackupError {
  const { exitCode, stderr } = result;
  if (exitCode === WRONG_PASSWORD || /wrong password or no key found/.test(stderr)) {
    return usage(`${name}: the password is not that of the repository`, 'Correct what `password` names.');
  }
  if (!result.aborted && isLocked(result)) return lockedBy(name, result);
  const failure = copyFailure('restic', result, lost || LOST.test(stderr));
  if (isRefusal(failure) || !isNoRepository(result)) return failure;
  return new FsbackupError('copyFailed', `${name} is no repository, or not there: ${saidBy(result)}`, {
    hint: 'Mount the disk that it lies on, or correct its address.',
  });
}

function lockedBy(name: string, result: CommandResult): FsbackupError {
  const holder = describeLock(result);
  return new FsbackupError('copyFailed', `${name} is locked by another restic${holder && ` (${holder})`}`, {
    hint:
      'Wait for it to end. If it is surely dead: `restic unlock`, while nobody else uses the repository (it takes a pid that' +
      ' this host does not have for a dead one, and sends SIGHUP to one that it has).',
  });
}

/** Why it ended, in restic's own words: the last line is the address once more. */
function saidBy(result: CommandResult): string {
  const said = result.stderr
    .trim()
    .split('\n')
    .find((line) => line.startsWith('Fatal: '));
  return said === undefined ? describeFailure('restic', result) : said.slice('Fatal: '.length);
}

/** Whether there is no repository. restic before 0.17 asks for one that does not answer or lets nobody in, too. */
export function isNoRepository({ exitCode, stderr, timedOut }: CommandResult): boolean {
  if (timedOut || LOST.test(stderr) || DENIED.test(stderr)) return false;
  return exitCode === NO_REPOSITORY || /Is there a repository at/.test(stderr);
}

/** A repository that could not be opened. */
export function resticUnusable(name: string, result: CommandResult, hint?: string): FsbackupError {
  if (/empty password|no password|an empty password is not a password/i.test(result.stderr))
    return usage(`${name} needs a password`, 'Say with `password` (--password-file) where it is read from.');
  const known = resticFailure(name, result);
  if (known.code === 'usage' || isLocked(result)) return known;
  return usage(
    `${name} cannot be used: ${saidBy(result)}`,
    hint ?? 'Check the address, the connection and the credentials of the repository.',
  );
}

/** What a check that failed told of the repository's damage. Throws where it could not look. */
export function resticDamage(name: string, result: CommandResult): string[] {
  const failure = resticFailure(name, result);
  const looked = result.exitCode !== undefined && result.exitCode <= 1;
  if (!looked || failure.code === 'usage' || isRetryable(failure) || isLocked(result)) throw failure;
  return result.stderr.split('\n').filter((line) => line.trim() !== '');
}
