import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { withScratch } from '../../system/scratch.js';
import type { runCommand } from '../../system/run-command.js';
import { bytesOfPath, isText, nulTerminated, pathFromBytes } from '../byte-path.js';
import { copyFailure, TARGET_REFUSES, UnreadablePaths } from '../copy-error.js';
import type { CopyResult, RestoreRequest } from '../engine.js';
import { printable } from '../printable.js';
import { journalLinks, linkName } from '../restore/restore-links.js';
import { parentsOf, pathInBackup, topmost } from '../source-layout.js';
import { parseComplaint, parseListing, unescapeName } from './tar-output.js';
import type { TarArchive } from './tar-archive.js';
import { withoutPadded } from './tar-padded.js';
import { under } from '../under.js';

/**
 * `--delay-directory-restore`: directories may be named again later in the archive, and get their times and modes
 * when nothing is made in them any more.
 */
const FAITHFUL = [
  '--preserve-permissions',
  '--same-owner',
  '--numeric-owner',
  '--xattrs',
  '--xattrs-include=*',
  '--delay-directory-restore',
] as const;
/** Times before 1970 are no cause for a warning. */
const TALKATIVE = ['--verbose', '--verbose', '--quoting-style=escape', '--warning=no-timestamp'] as const;

/** Paths of at most 4 KiB: the kernel takes 2 MiB of arguments. */
const MAX_ARGUMENTS = 400;

/** The archive itself is bad or ended early: what was restored is of no use to tell apart. */
const BROKEN = /not recoverable|Unexpected EOF|Child returned status|does not look like a tar archive/;

/** What of an archive is to be extracted. */
interface Selection {
  /** A file with the names of what is wanted by itself, NUL-terminated. */
  alone: string;
  /** As `alone`, of what is wanted with all that is below it. */
  whole: string;
}

const NAMES = ['--null', '--no-unquote', '--verbatim-files-from'] as const;

function select({ alone, whole }: Selection): string[] {
  return ['--no-recursion', ...NAMES, `--files-from=${alone}`, '--recursion', `--files-from=${whole}`];
}

/** Whether a member is one of `paths` or below one of them. */
function isInside(name: string, paths: ReadonlySet<string>): boolean {
  return paths.has(name) || parentsOf(`/${name}`).some((parent) => paths.has(pathInBackup(parent)));
}

/**
 * The members outside of `paths` that hard links inside of them are names for, each with the directory of one such
 * link. tar keeps the content of a file with its first name only. A name that itself contains ` link to ` is cut at
 * each: a name too many does no harm.
 */
async function outsideLinkTargets(
  archive: TarArchive,
  paths: readonly string[],
  selection: Selection,
  request: RestoreRequest,
): Promise<Map<string, string>> {
  const targets = new Map<string, string>();
  const inside = new Set(paths);
  const result = await archive.tar('--list', [...TALKATIVE, '--numeric-owner', ...select(selection)], {
    signal: request.signal,
    onStdoutLine: (line) => {
      const member = parseListing(line);
      if (member?.type !== 'h') return;
      const parts = member.name.split(' link to ');
      for (const index of parts.slice(1).keys()) {
        const link = pathFromBytes(unescapeName(parts.slice(0, index + 1).join(' link to ')));
        const target = pathFromBytes(unescapeName(parts.slice(index + 1).join(' link to ')));
        // An argument of a program cannot hold other bytes: such a link is told of by the extraction.
        if (isText(target) && !isInside(target, inside)) targets.set(target, path.dirname(link));
      }
    },
  });
  // Names that are not in the archive are told of by the extraction.
  if (result.exitCode !== 0 && (result.exitCode === undefined || BROKEN.test(result.stderr))) {
    throw copyFailure('tar', result);
  }
  return targets;
}

function escapeForSed(name: string): string {
  return name.replaceAll(/[\\.*[\]^$,]/g, String.raw`\$&`);
}

function asReplacement(name: string): string {
  return name.replaceAll(/[\\&,]/g, String.raw`\$&`);
}

async function extract(
  args: readonly string[],
  context: {
    archive: TarArchive;
    request: RestoreRequest;
    /** Members that nobody asked for. */
    auxiliary: ReadonlySet<string>;
  },
): Promise<CopyResult> {
  const { request, auxiliary } = context;
  const unreadable = new UnreadablePaths();
  const tally = { bytes: 0, files: 0 };
  let complaints = 0;
  let full = false;
  const result = await context.archive.tar(
    '--extract',
    [...FAITHFUL, ...TALKATIVE, `--directory=${request.destination}`, ...args],
    {
      signal: request.signal,
      onStdoutLine: (line) => {
        const member = parseListing(line);
        if (member === undefined || member.type === 'd' || auxiliary.has(unescapeName(member.name))) return;
        tally.files += 1;
        tally.bytes += member.bytes;
        request.onProgress({ ...tally });
      },
      onStderrLine: (line) => {
        const complaint = parseComplaint(line);
        if (complaint === undefined) return;
        const name = unescapeName(complaint);
        if (TARGET_REFUSES.test(line) && !/extended attribute/.test(line)) full = true;
        complaints += 1;
        if (!auxiliary.has(name)) unreadable.add(`/${printable(name)}`);
      },
    },
    request.under,
  );
  const isPartial = result.exitCode !== undefined && complaints > 0 && !full && !BROKEN.test(result.stderr);
  if (result.exitCode !== 0 && !isPartial) throw copyFailure('tar', result);
  return { ...tally, unreadable: unreadable.paths };
}

async function extractPaths(
  wanted: readonly string[],
  archive: TarArchive,
  scratch: string,
  request: RestoreRequest,
  run: typeof runCommand,
): Promise<CopyResult> {
  const paths = wanted.map(pathInBackup);
  const parents = (request.parents ?? [...new Set(wanted.flatMap(parentsOf))]).map(pathInBackup);
  const selection = { alone: path.join(scratch, 'alone'), whole: path.join(scratch, 'whole') };
  await writeFile(selection.alone, '');
  await writeFile(selection.whole, nulTerminated(paths));
  const padded = await withoutPadded(archive, request, scratch);
  const targets = await outsideLinkTargets(archive, paths, selection, request);
  await writeFile(selection.alone, nulTerminated([...parents, ...targets.keys()]));
  // Extracted under names of their own, beside a link to them, for as long as it takes to make that.
  const besides = [...targets].map(([target, beside]) => ({ target, beside: isText(beside) ? beside : '.' }));
  const links = await journalLinks(request, new Set(besides.map(({ beside }) => beside)));
  const places = besides.map(({ target, beside }, index) => ({
    target,
    place: path.join(beside, linkName(links.token, index)),
  }));
  const renamed = places.map(
    ({ target, place }) => `--transform=s,^${escapeForSed(target)}$,${asReplacement(place)},rhS`,
  );
  const binary = [...parents, ...targets.keys()].map((name) => bytesOfPath(name).toString('latin1'));
  const touched = [...new Set([...targets.values()].filter(isText))];
  const auxiliary = new Set([...binary, ...places.map(({ place }) => Buffer.from(place).toString('latin1'))]);
  try {
    return await extract([...padded, ...renamed, ...select(selection)], { archive, request, auxiliary });
  } finally {
    const made = places.map(({ place }) => path.join(request.destination, place));
    let isRemoved = true;
    for (let at = 0; at < made.length; at += MAX_ARGUMENTS) {
      const names = made.slice(at, at + MAX_ARGUMENTS);
      const { exitCode } = await run(under(request.under, 'rm', ['--force', '--', ...names]));
      isRemoved &&= exitCode === 0;
    }
    // Else it is for `recover`.
    if (isRemoved) await links.removed();
    // Their times are those of the removal now.
    if (touched.length > 0) {
      await writeFile(selection.alone, nulTerminated(touched));
      const args = [...FAITHFUL, `--directory=${request.destination}`, '--no-recursion', ...NAMES];
      await archive.tar(
        '--extract',
        [...args, `--files-from=${selection.alone}`],
        { signal: request.signal },
        request.under,
      );
    }
  }
}

/** `CopyEngine.restore` for an archive that a tar engine wrote; `run` is for the programs beside tar. */
export async function restoreTar(
  request: RestoreRequest,
  archive: TarArchive,
  run: typeof runCommand,
): Promise<CopyResult> {
  const wanted = topmost(request.paths);
  if (wanted.length === 0 || wanted.includes('/')) {
    return await withScratch('restore', async (scratch) =>
      extract(await withoutPadded(archive, request, scratch), { archive, request, auxiliary: new Set() }),
    );
  }
  return await withScratch('restore', (scratch) => extractPaths(wanted, archive, scratch, request, run));
}
