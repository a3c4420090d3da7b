import type { JournalEntry } from '../journal/entry.js';
import { endMarkedPrograms, type EndingOptions } from '../system/marked-programs.js';
import { QUIESCE_VARIABLE } from '../system/process-identity.js';

/**
 * Ends what a dead run left bringing an application to rest: once that has been let go, nothing may bring it to rest any
 * more. Resolves to why the application cannot be let go yet, a clause, or to undefined.
 */
export async function endHook(
  { pid, startTime, id }: Pick<JournalEntry, 'pid' | 'startTime' | 'id'>,
  how?: EndingOptions,
): Promise<string | undefined> {
  const marks = { variable: QUIESCE_VARIABLE, values: [id] };
  const { stuck } = await endMarkedPrograms({ pid, startTime }, marks, how);
  const [first] = stuck;
  return first === undefined
    ? undefined
    : `${first.name} (pid ${first.pid}) still brings it to rest and cannot be ended`;
}
