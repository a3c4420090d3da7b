import { rm } from 'node:fs/promises';
import path from 'node:path';
import { isWithin } from '../system/mountinfo.js';
import type { runCommand } from '../system/run-command.js';
import { copyFailure, TARGET_REFUSES, UnreadablePaths } from './copy-error.js';
import type { CopyResult, RestoreRequest } from './engine.js';
import { printable } from './printable.js';
import { parentsOf, pathInBackup, topmost } from './source-layout.js';
import { parseComplaint, parseListing, unescapeName } from './tar-output.js';

/** The one file of a tar backup, in its data directory. */
export const ARCHIVE = 'data.tar.zst';

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

/** The archive itself is bad or ended early: what was restored is of no use to tell apart. */
const BROKEN = /not recoverable|Unexpected EOF|Child returned status|does not look like a tar archive/;

/** What of an archive is to be extracted. */
interface Selection {
  args: string[];
  /** Names for tar's standard input. */
  input: string;
}

function select(paths: readonly string[], alone: readonly string[]): Selection {
  return {
    args: [
      '--no-recursion',
      ...alone.map((name) => `--add-file=${name}`),
      '--recursion',
      '--null',
      '--no-unquote',
      '--verbatim-files-from',
      '--files-from=-',
    ],
    input: paths.map((name) => `${name}\0`).join(''),
  };
}

function asText(binary: string): string | undefined {
  const bytes = Buffer.from(binary, 'latin1');
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : undefined;
}

/**
 * The members outside of `paths` that hard links inside of them are names for. tar keeps the content of a file with
 * its first name only. A name that itself contains ` link to ` is cut at each: a name too many does no harm.
 */
async function outsideLinkTargets(
  archive: readonly string[],
  paths: readonly string[],
  request: RestoreRequest,
  run: typeof runCommand,
): Promise<string[]> {
  const targets = new Set<string>();
  const { args, input } = select(paths, []);
  const result = await run(['tar', '--list', ...archive, ...TALKATIVE, '--numeric-owner', ...args], {
    signal: request.signal,
    input,
    onStdoutLine: (line) => {
      const member = parseListing(line);
      if (member?.type !== 'h') return;
      const parts = member.name.split(' link to ');
      for (const index of parts.slice(1).keys()) {
        const target = asText(unescapeName(parts.slice(index + 1).join(' link to ')));
        if (target !== undefined && !paths.some((inside) => isWithin(target, inside))) targets.add(target);
      }
    },
  });
  // Names that are not in the archive are told of by the extraction.
  if (result.exitCode !== 0 && (result.exitCode === undefined || BROKEN.test(result.stderr))) {
    throw copyFailure('tar', result);
  }
  return [...targets];
}

function escapeForSed(name: string): string {
  return name.replaceAll(/[\\.*[\]^$,]/g, String.raw`\$&`);
}

async function extract(
  selection: Selection,
  context: {
    archive: readonly string[];
    request: RestoreRequest;
    run: typeof runCommand;
    /** Members that nobody asked for. */
    auxiliary: ReadonlySet<string>;
  },
): Promise<CopyResult> {
  const { request, auxiliary } = context;
  const unreadable = new UnreadablePaths();
  const tally = { bytes: 0, files: 0 };
  let complaints = 0;
  let full = false;
  const result = await context.run(
    [
      'tar',
      '--extract',
      ...context.archive,
      ...FAITHFUL,
      ...TALKATIVE,
      `--directory=${request.destination}`,
      ...selection.args,
    ],
    {
      signal: request.signal,
      input: selection.input,
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
  );
  const isPartial = result.exitCode !== undefined && complaints > 0 && !full && !BROKEN.test(result.stderr);
  if (result.exitCode !== 0 && !isPartial) throw copyFailure('tar', result);
  return { ...tally, unreadable: unreadable.paths };
}

/** `CopyEngine.restore` for an archive that the tar engine wrote. */
export async function restoreTar(request: RestoreRequest, run: typeof runCommand): Promise<CopyResult> {
  const archive = [`--file=${path.join(request.dataDirectory, ARCHIVE)}`, '--use-compress-program=zstd -q'];
  const wanted = topmost(request.paths);
  if (wanted.length === 0 || wanted.includes('/')) {
    return await extract({ args: [], input: '' }, { archive, request, run, auxiliary: new Set() });
  }
  const paths = wanted.map(pathInBackup);
  const parents = [...new Set(wanted.flatMap(parentsOf))].map(pathInBackup);
  const targets = await outsideLinkTargets(archive, paths, request, run);
  // Extracted under names of their own for as long as it takes to link to them.
  const places = targets.map((target, index) => ({
    target,
    place: `.fsbackup-link-${process.pid}-${index}`,
  }));
  const selection = select(paths, [...parents, ...targets]);
  for (const { target, place } of places) {
    selection.args.unshift(`--transform=s,^${escapeForSed(target)}$,${place},rhS`);
  }
  const binary = [...parents, ...targets].map((name) => Buffer.from(name, 'utf8').toString('latin1'));
  const auxiliary = new Set([...binary, ...places.map(({ place }) => place)]);
  try {
    return await extract(selection, { archive, request, run, auxiliary });
  } finally {
    for (const { place } of places) await rm(path.join(request.destination, place), { force: true });
  }
}
