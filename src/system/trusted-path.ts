import type { Stats } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError } from '../errors.js';
import { isWithin } from './mountinfo.js';
import { shellWord } from './command-line.js';

/** Whose files are believed: root's, and those of the user who runs this. */
export function trustedUids(): number[] {
  return [0, process.geteuid?.() ?? 0];
}

const GROUP_OR_OTHERS_WRITE = 0o022;
const GROUP_OR_OTHERS_ENTER = 0o011;
const STICKY = 0o1000;
/** As the kernel's: more symlinks than that on one way are a loop. */
const MAX_SYMLINKS = 40;

/** Why somebody else than the trusted users decides what a path leads to. */
export interface Distrust {
  /** What they own or may write to: the path itself, or a directory or symlink on the way to it. */
  at: string;
  /** A clause about it: `belongs to uid 1000, whom fsbackup does not trust`. */
  because: string;
  /** The command that mends it. */
  fix: string;
}

type Facts = Pick<Stats, 'uid' | 'mode'>;

/** What is wrong with a file or directory by itself; undefined: only trusted users can change it. Pure. */
export function distrustOf(
  { uid, mode }: Facts,
  name: string,
  uids: readonly number[] = trustedUids(),
): Distrust | undefined {
  if (!uids.includes(uid)) {
    return {
      at: name,
      because: `belongs to uid ${uid}, whom fsbackup does not trust`,
      fix: `chown root ${shellWord(name)}`,
    };
  }
  if ((mode & GROUP_OR_OTHERS_WRITE) === 0) return undefined;
  return {
    at: name,
    because: 'may be written by its group or by others',
    fix: `chmod go-w ${shellWord(name)}`,
  };
}

async function lookAt(file: string): Promise<Stats | undefined> {
  try {
    return await lstat(file);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw error;
  }
}

function partsOf(file: string): string[] {
  return file.split('/').filter((part) => part !== '' && part !== '.');
}

/**
 * Finds who else could make an absolute path lead elsewhere: looks at every directory on the way, and at every symlink,
 * as sshd and sudo do for what they read. In a sticky directory (/tmp) what is ours stays ours. Below a directory that
 * only trusted users may enter nobody else comes, whosever what lies in it is. The look ends where the path is not there
 * yet; what is made there is to be looked at again. Undefined: nobody. Rejects with the system's error.
 */
export async function findDistrust(
  file: string,
  uids: readonly number[] = trustedUids(),
): Promise<Distrust | undefined> {
  let pending = partsOf(file);
  let at = '/';
  let facts = await lookAt(at);
  let closed: string | undefined;
  for (let links = 0; facts !== undefined;) {
    if (closed !== undefined && !isWithin(at, closed)) closed = undefined;
    const distrust = closed === undefined ? distrustOf(facts, at, uids) : undefined;
    const [name, ...rest] = pending;
    if (name === undefined) return distrust;
    if (distrust === undefined && (facts.mode & GROUP_OR_OTHERS_ENTER) === 0) closed ??= at;
    const isSticky = (facts.mode & STICKY) !== 0 && uids.includes(facts.uid);
    if (distrust !== undefined && !isSticky) return distrust;
    const next = path.join(at, name);
    const below = await lookAt(next);
    if (below === undefined) return undefined;
    if (distrust !== undefined && !uids.includes(below.uid)) return distrustOf(below, next, uids);
    pending = rest;
    if (!below.isSymbolicLink()) {
      at = next;
      facts = below;
      continue;
    }
    links += 1;
    if (links > MAX_SYMLINKS) {
      return { at: next, because: 'is a symlink that leads in a circle', fix: `rm ${shellWord(next)}` };
    }
    const target = await readlink(next);
    pending = [...partsOf(target), ...rest];
    if (target.startsWith('/')) at = '/';
    facts = await lookAt(at);
  }
  return undefined;
}

/**
 * Whether only trusted users get to a directory (absolute, free of symlinks): it is theirs, or one above it is, and nobody
 * else may enter that one. Rejects with the system's error.
 */
export async function isClosedToOthers(
  directory: string,
  uids: readonly number[] = trustedUids(),
): Promise<boolean> {
  for (let at = directory; ; at = path.dirname(at)) {
    const { uid, mode } = await lstat(at);
    if (uids.includes(uid) && (mode & GROUP_OR_OTHERS_ENTER) === 0) return true;
    if (at === '/') return false;
  }
}

/**
 * Rejects with `usage` when somebody else than root (or the user who runs this) decides what is at `file`, or where it
 * leads. `what` names it to people, `why` says what they could do with it, as a sentence.
 */
export async function requireTrustedPath(
  file: string,
  { what, why, otherwise = '' }: { what: string; why: string; otherwise?: string },
): Promise<void> {
  const distrust = await findDistrust(file);
  if (distrust === undefined) return;
  const { at, because, fix } = distrust;
  throw new FsbackupError('usage', `${what} ${file} cannot be trusted: ${at} ${because}`, {
    hint: `${why} Check it, then: ${fix}${otherwise === '' ? '' : `; ${otherwise}`}`,
  });
}
