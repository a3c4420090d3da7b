import { AbsentStorageError } from '../errors.js';
import type { JournalEntry } from './entry.js';
import type { RecoverReport } from './recover-report.js';

/** What is left where an entry is forgotten; or why it must not be, a clause. */
export type Forgetting = { left: string } | { refused: string };

/**
 * Whether an entry may be forgotten whose release has just failed with `error`: only where no device of this host has what
 * it lies on, and nothing may still be frozen, nor an application of its run be at rest.
 */
export async function mayForget(
  { runId }: JournalEntry,
  error: unknown,
  { failed }: Pick<RecoverReport, 'failed'>,
): Promise<Forgetting> {
  if (!(error instanceof AbsentStorageError)) return { refused: 'its storage is there, or may be' };
  const first = failed.find(
    (thing) => thing.kind === 'freeze' || (thing.kind === 'quiesce' && thing.runId === runId),
  );
  if (first !== undefined) return { refused: `${first.what} is to be released first` };
  const device = await error.findDevice();
  return device === undefined ? { left: error.left } : { refused: `what it lies on is there: ${device}` };
}
