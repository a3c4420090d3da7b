import { rm } from 'node:fs/promises';
import * as z from 'zod';
import { errnoOf, FsbackupError } from '../../errors.js';
import { writeDurably } from '../../journal/durable-file.js';
import { readStored } from '../stored/stored-file.js';

const noteSchema = z.object({
  version: z.literal(1),
  /** Of the run that copied last. */
  backupId: z.string(),
  /** When it began to: RFC 3339. */
  startedAt: z.iso.datetime(),
  /** Whether the trees lie beside the note, or on another host. */
  place: z.enum(['here', 'there']),
  /** Of the digests that were taken. */
  algorithm: z.string(),
  /** `FoundTrees.instance` of the place that they were written in. */
  instance: z.string(),
  /** All of it was on disk when this was noted. */
  isSynced: z.boolean(),
  /**
   * Whoever notes `isSynced` is told of all that could not be written, whoever else was. Absent, of earlier versions: others
   * may have been told in its place.
   */
  hearsOfLosses: z.literal(true).exactOptional(),
  /** The kernel is being asked what was lost of it, which it tells once: who noted this did not come to note the answer. */
  isAsking: z.literal(true).exactOptional(),
  /** How many copies in a row were broken off. */
  rounds: z.number().int().nonnegative(),
  /** No later than anything of it was read; absent: nobody knows. */
  since: z.iso.datetime().exactOptional(),
  /** What all of it was read from, by source, as `treeOrigin` names it: where that is one thing, and known. */
  origins: z.record(z.string(), z.string()).exactOptional(),
});

/** What tells of a copy that is going on, or was broken off, that another one may go on from it. */
export type ResumeNote = z.infer<typeof noteSchema>;

function noteFile(digestFile: string): string {
  return `${digestFile}.resume`;
}

/** The note beside a list of digests; undefined where there is none that this version understands. */
export async function readResumeNote(digestFile: string): Promise<ResumeNote | undefined> {
  let text: string;
  try {
    text = await readStored(noteFile(digestFile));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    if (error instanceof FsbackupError) return undefined;
    throw error;
  }
  try {
    return noteSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Durably, replacing what there is. */
export async function writeResumeNote(digestFile: string, note: ResumeNote): Promise<void> {
  await writeDurably(noteFile(digestFile), `${JSON.stringify(note)}\n`);
}

/** From now on nothing goes on from it. Idempotent. */
export async function removeResumeNote(digestFile: string): Promise<void> {
  await rm(noteFile(digestFile), { force: true });
}
