import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { ensurePrivateDirectory, runDirectory, stateDirectory } from '../system/directories.js';
import type { ProcessIdentity } from '../system/process-identity.js';
import { removeDurably, TEMPORARY_SUFFIX, writeDurably } from './durable-file.js';
import { isVolatile, journalEntrySchema, type HeldKind, type JournalEntry, type Payload } from './entry.js';
import { newestFirst } from './newest-first.js';

/** Where the two halves of the journal lie. */
export interface JournalDirectories {
  /** For what outlives a reboot. */
  durable: string;
  /** For what does not. */
  volatile: string;
}

export function journalDirectories(env: NodeJS.ProcessEnv = process.env): JournalDirectories {
  return {
    durable: path.join(stateDirectory(env), 'journal'),
    volatile: path.join(runDirectory(env), 'journal'),
  };
}

/** The proof that something is, or may be, held. */
export interface JournalHandle<K extends HeldKind = HeldKind> {
  readonly id: string;
  /** What is known of it now, in place of what was. Rejects as `Journal.record` does; what was then stands. */
  amend(payload: Payload<K>): Promise<void>;
  /** After the release. Idempotent. */
  remove(): Promise<void>;
}

/** The journal as a run writes it. */
export interface Journal {
  /**
   * Before the effect: resolves when the intent is on stable storage. Rejects with `failed` when it cannot be
   * written; nothing may then be acquired.
   */
  record<K extends HeldKind>(kind: K, payload: Payload<K>): Promise<JournalHandle<K>>;
}

/** Whose entries these are. */
export interface JournalOwner {
  job: string;
  runId: string;
  process: ProcessIdentity;
}

/** Opens the journal for one run. */
export function openJournal(directories: JournalDirectories, owner: JournalOwner): Journal {
  let count = 0;
  return {
    async record(kind, payload) {
      const directory = isVolatile(kind) ? directories.volatile : directories.durable;
      const id = `${owner.runId}-${count}-${kind}`;
      count += 1;
      const file = path.join(directory, `${id}.json`);
      const common = { version: 1, id, kind, createdAt: new Date().toISOString() };
      const { runId, job } = owner;
      const write = async (held: unknown): Promise<void> => {
        const entry = { ...common, runId, job, ...owner.process, payload: held };
        try {
          await ensurePrivateDirectory(directory);
          await writeDurably(file, `${JSON.stringify(entry, undefined, 2)}\n`);
        } catch (error) {
          throw new FsbackupError('failed', `cannot write the journal ${file}: ${messageOf(error)}`, {
            hint: `Make room in ${directory}, and see that root may write there; nothing was acquired.`,
            cause: error,
          });
        }
      };
      await write(payload);
      return { id, amend: write, remove: () => removeDurably(file) };
    },
  };
}

/** An entry as it was found. */
export interface FoundEntry {
  entry: JournalEntry;
  file: string;
}

/** A file that is no entry this version understands. */
export interface UnreadableEntry {
  file: string;
  reason: string;
}

export interface JournalContents {
  /** The newest first, see `newestFirst`. */
  entries: FoundEntry[];
  unreadable: UnreadableEntry[];
}

async function readEntry(file: string): Promise<FoundEntry | UnreadableEntry | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    // Removed by its owner meanwhile.
    if (errnoOf(error) === 'ENOENT') return undefined;
    return { file, reason: messageOf(error) };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { file, reason: 'it is not JSON' };
  }
  const parsed = journalEntrySchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { file, reason: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown shape'}` };
  }
  return { file, entry: parsed.data };
}

async function listEntries(directory: string): Promise<string[]> {
  try {
    const names = await readdir(directory);
    // A temporary file is an intent that was never completed, so nothing was done on its account.
    return names.filter((name) => !name.endsWith(TEMPORARY_SUFFIX)).map((name) => path.join(directory, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Reads both halves of the journal, of all runs, living and dead. */
export async function readJournal(directories: JournalDirectories): Promise<JournalContents> {
  const files = [...(await listEntries(directories.volatile)), ...(await listEntries(directories.durable))];
  const contents: JournalContents = { entries: [], unreadable: [] };
  for (const file of files.toSorted()) {
    const found = await readEntry(file);
    if (found === undefined) continue;
    if ('entry' in found) contents.entries.push(found);
    else contents.unreadable.push(found);
  }
  return { ...contents, entries: newestFirst(contents.entries) };
}
