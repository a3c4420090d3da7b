import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import type { runCommand } from '../../system/run-command.js';
import { agreed, finishDigestList } from '../digests/digest-list.js';
import { LineWriter, readRecordBatches } from '../digests/digest-lines.js';
import { formatRecord, type DigestRecord } from '../digests/digest-record.js';
import type { CopyRequest } from '../engine.js';
import { agreeing, intactFiles, isKnown, linkFiles, unchangedFiles } from './known-files.js';
import { readResumeNote, removeResumeNote, writeResumeNote, type ResumeNote } from './resume-note.js';
import { takenAt, type LinkedTree } from './rsync-linking.js';
import { SortedList } from '../digests/sorted-list.js';
import { areWrittenBack } from './written-back.js';
import { commonOrigins, originsOf } from '../backup/tree-origins.js';

/** After so many copies in a row that were broken off, what none but the oldest of them copied goes. */
const MAX_ROUNDS = 8;

/** What there is of an earlier attempt or run. */
export interface FoundTrees {
  /** Names the place as it is now: in the same one nothing that was written is lost. Empty: nobody can tell. */
  instance: string;
  hasEarlier: boolean;
  hasKnown: boolean;
}

/**
 * The trees of a copy that can be gone on with, all on one filesystem, of this host or another. `incomplete` is copied
 * to; `earlier` is what it was before; `known` holds files whose digest is known; `fresh` is to become that.
 */
export interface ResumeTrees {
  readonly place: ResumeNote['place'];
  readonly incomplete: string;
  readonly earlier: string;
  readonly known: string;
  readonly fresh: string;
  /** Runs programs where they lie. */
  readonly run: typeof runCommand;
  /**
   * Makes `incomplete`, empty, and removes `fresh`. What was copied before, for the backup of the id `former`, becomes
   * `earlier`; undefined: it and all of these go.
   */
  prepare(former: string | undefined): Promise<FoundTrees>;
  /** `fresh` becomes `known`, and `earlier` goes. */
  renew(): Promise<void>;
  /** Removes them all but `incomplete`. */
  forget(): Promise<void>;
}

/** No later than what is gone on with was read. Notes of earlier versions do not tell of more than one copy. */
function sinceOf(note: ResumeNote | undefined): Date | undefined {
  if (note?.since !== undefined) return new Date(note.since);
  return note?.rounds === 0 ? takenAt(note.backupId) : undefined;
}

/** Leaves of a file, made where there is none, what is whole: a line that a kill cut short may look like another one. */
async function cutTornLine(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    const { size } = await handle.stat();
    const chunk = Buffer.alloc(64 * 1024);
    for (let end = size; end > 0;) {
      const position = Math.max(0, end - chunk.length);
      const { bytesRead } = await handle.read(chunk, 0, end - position, position);
      const last = chunk.subarray(0, bytesRead).lastIndexOf('\n');
      if (last !== -1) return await handle.truncate(position + last + 1);
      end = position;
    }
    await handle.truncate(0);
  } finally {
    await handle.close();
  }
}

/** What an earlier attempt or run left, to be gathered. */
interface Leavings extends FoundTrees {
  note: ResumeNote;
  /** It need not be read. */
  isOnDisk: boolean;
}

function needsNoReading({ isSynced, hearsOfLosses, instance }: ResumeNote, found: FoundTrees): boolean {
  return (isSynced && hearsOfLosses === true) || (instance !== '' && instance === found.instance);
}

/**
 * What makes a copy by rsync go on from one that was broken off, in the same run or an earlier one. Of that one only those
 * files count whose digest was told and recorded while they were copied, and which still have that content: they alone are
 * linked from, so whatever the new copy has from there has a digest that was taken from a snapshot. They are in the tree `known`, their digests in the list of that
 * name; whatever of it a kill leaves, no file is ever in the tree that is not in the list, with its own digest.
 */
export class Resumption {
  readonly #request: Pick<CopyRequest, 'backup' | 'signal' | 'sources'>;
  readonly #file: string;
  /** Of the digests that are taken. */
  readonly algorithm: string;
  readonly #trees: ResumeTrees;
  #hasKnown = false;

  /** `file`: the list that the copy will have; what is needed on the way is named after it. */
  constructor(
    request: Pick<CopyRequest, 'backup' | 'signal' | 'sources'>,
    { file, algorithm, trees }: { file: string; algorithm: string; trees: ResumeTrees },
  ) {
    this.#request = request;
    this.#file = file;
    this.algorithm = algorithm;
    this.#trees = trees;
  }

  #at(name: 'raw' | 'known.gz' | 'told.gz' | 'both' | 'next.gz'): string {
    return `${this.#file}.${name}`;
  }

  /** Before anything is copied, or recorded of it. Returns the trees to link from, before the parent's. */
  async begin(): Promise<LinkedTree[]> {
    const { backup, sources } = this.#request;
    const note = await readResumeNote(this.#file);
    const isOurs =
      note?.algorithm === this.algorithm && note.place === this.#trees.place && note.isAsking !== true;
    const found = await this.#trees.prepare(isOurs ? note.backupId : undefined);
    const rounds = (note?.rounds ?? 0) % MAX_ROUNDS;
    const isThere = isOurs && (found.hasEarlier || found.hasKnown);
    this.#hasKnown =
      isThere &&
      (await this.#gathered({
        ...found,
        hasKnown: found.hasKnown && rounds + 1 < MAX_ROUNDS,
        note,
        isOnDisk: needsNoReading(note, found),
      }));
    if (isThere && !this.#hasKnown) await this.#trees.forget();
    if (!this.#hasKnown) await this.#dropLists();
    const since = this.#hasKnown ? sinceOf(note) : takenAt(backup.backupId);
    const origins = originsOf(sources);
    await writeResumeNote(this.#file, {
      version: 1,
      backupId: backup.backupId,
      startedAt: new Date().toISOString(),
      place: this.#trees.place,
      algorithm: this.algorithm,
      instance: found.instance,
      isSynced: false,
      hearsOfLosses: true,
      rounds: this.#hasKnown ? rounds + 1 : 0,
      ...(since === undefined ? {} : { since: since.toISOString() }),
      // What is gone on with and is of something else stays so, in the runs after this one too.
      origins: this.#hasKnown ? commonOrigins(origins, note?.origins) : origins,
    });
    return this.#hasKnown ? [{ directory: this.#trees.known, takenAt: since, origins: note?.origins }] : [];
  }

  /** False where it is copied anew: its records cannot be read, or something of it was lost. */
  async #gathered(found: Leavings): Promise<boolean> {
    try {
      return await this.#gather(found);
    } catch (error) {
      const errno = errnoOf(error);
      // zlib's own codes are of a list that is no list any more.
      const isUnreadable = errno === undefined || errno.startsWith('Z_');
      if (error instanceof FsbackupError || !isUnreadable) throw error;
      return false;
    }
  }

  /**
   * What may not be on disk is read: it is known by its digest, or not at all. Before that the kernel is asked, which may show
   * from its memory what it could not write. False where that is so of anything.
   */
  async #gather({ note, hasEarlier, hasKnown, isOnDisk }: Leavings): Promise<boolean> {
    const { earlier, known, fresh, run } = this.#trees;
    const [raw, told, next] = [this.#at('raw'), this.#at('told.gz'), this.#at('next.gz')];
    await cutTornLine(raw);
    await finishDigestList(raw, told, undefined, { keepRaw: true, fold: agreed });
    const before = hasKnown && (await exists(this.#at('known.gz'))) ? [this.#at('known.gz')] : [];
    const both = new LineWriter(this.#at('both'), 'w');
    await both.closeAfter(async () => {
      for (const list of [...before, told]) {
        for await (const records of readRecordBatches(list)) {
          for (const record of records.filter(isKnown)) both.add(formatRecord(record));
          await both.untilTaken();
        }
      }
    });
    await finishDigestList(this.#at('both'), next, undefined, { fold: agreed });
    const parts = [
      ...(hasEarlier ? [{ list: told, from: earlier }] : []),
      ...before.map((list) => ({ list, from: known })),
    ];
    const using = { run, signal: this.#request.signal, algorithm: this.algorithm };
    if (!isOnDisk && note.place === 'here') {
      await writeResumeNote(this.#file, { ...note, isAsking: true });
      for (const { list, from } of parts) {
        for await (const records of agreeing(list, next))
          if (!(await areWrittenBack(from, [...records.keys()], using.signal))) return false;
      }
      await writeResumeNote(this.#file, note);
    }
    for (const { list, from } of parts) {
      for await (const records of agreeing(list, next)) {
        const names = isOnDisk ? [...records.keys()] : await intactFiles(from, records, using);
        if (names.length > 0) await linkFiles({ from, to: fresh }, names, using);
      }
    }
    await this.#trees.renew();
    await rename(next, this.#at('known.gz'));
    await rm(raw, { force: true });
    await rm(told, { force: true });
    return true;
  }

  /**
   * Once all is copied, before the list of digests is made: records those of the files that were linked from `known`.
   * `parent` is what else was linked from, with its list if it has one of the same digests.
   */
  async settle(parent: { list: string | undefined } | undefined): Promise<void> {
    if (!this.#hasKnown) return;
    const [raw, copied] = [this.#at('raw'), this.#at('told.gz')];
    await finishDigestList(raw, copied, undefined, { keepRaw: true });
    const known = new SortedList(this.#at('known.gz'));
    const parents = parent?.list === undefined ? undefined : new SortedList(parent.list);
    const settled = new LineWriter(raw, 'a');
    let doubtful: DigestRecord[] = [];
    const decide = async (): Promise<void> => {
      const isFromKnown = await this.#linkedFromKnown(doubtful.map(({ path }) => path));
      for (const record of doubtful.filter(({ path }) => isFromKnown.has(path)))
        settled.add(formatRecord(record));
      doubtful = [];
    };
    const settle = async (): Promise<void> => {
      for await (const records of readRecordBatches(copied)) {
        for (const { type, digest, path, sizeBytes } of records) {
          if (type !== 'f' || digest !== '?') continue;
          const record = await known.find(path);
          if (record?.sizeBytes !== sizeBytes || !isKnown(record)) continue;
          const other = await parents?.find(path);
          const isElsewhere =
            parent !== undefined && (parents === undefined || other?.sizeBytes === sizeBytes);
          // The same content from either.
          if (isElsewhere && other?.digest !== record.digest) doubtful.push(record);
          else settled.add(formatRecord(record));
        }
        await settled.untilTaken();
        if (doubtful.length > 10_000) await decide();
      }
      await decide();
    };
    try {
      await settled.closeAfter(settle);
    } finally {
      await known.close();
      await parents?.close();
    }
    await rm(copied, { force: true });
  }

  async #linkedFromKnown(names: readonly string[]): Promise<ReadonlySet<string>> {
    if (names.length === 0) return new Set();
    const { known, incomplete, run } = this.#trees;
    return await unchangedFiles({ from: known, to: incomplete }, names, {
      run,
      signal: this.#request.signal,
    });
  }

  async #dropLists(): Promise<void> {
    for (const name of ['raw', 'known.gz', 'told.gz', 'both', 'next.gz'] as const)
      await rm(this.#at(name), { force: true });
  }

  /** Nothing is to go on from this copy: it is complete, or no good. The trees are for the engine to remove. */
  async end(): Promise<void> {
    await removeResumeNote(this.#file);
    await this.#dropLists();
  }
}

/** The trees to link from for a copy; without digests nothing is gone on with. */
export async function beginCopy(
  trees: ResumeTrees,
  resumption: Resumption | undefined,
): Promise<LinkedTree[]> {
  if (resumption !== undefined) return await resumption.begin();
  await trees.prepare(undefined);
  return [];
}
