import { findBackup, parseSelector } from '../backup/backup-select.js';
import type { CompleteBackup } from '../backup/backup-list.js';
import {
  eachTargetOf,
  jobsToSearch,
  targetsToSearch,
  type WhereBackupsAre,
} from '../target/configured-targets.js';
import { targetName, targetOf } from '../../backup-target.js';

/** A backup that was asked for but not found. */
export interface NotFound {
  job: string;
  /** Where it was looked for; null: in all targets. */
  target: string | null;
  error: unknown;
}

/** What somebody wants looked at. */
export interface AskedFor extends Omit<WhereBackupsAre, 'job'> {
  /** As `findBackup` has them; none: the newest backup of every job. */
  selectors: readonly string[];
  /** The copy in each target of the job, and not one of them. */
  allTargets: boolean;
  warn: (message: string) => void;
  signal: AbortSignal;
}

async function orNotFound(
  job: string,
  target: string | null,
  find: () => Promise<CompleteBackup>,
): Promise<CompleteBackup | NotFound> {
  try {
    return await find();
  } catch (error) {
    return { job, target, error };
  }
}

/** The second of an id. */
function begun({ backupId }: CompleteBackup): string {
  return backupId.slice(0, 16);
}

/** A target whose newest backup is an old one: that it is good says nothing of what is not there. */
function describeBehind(newest: readonly CompleteBackup[]): string[] {
  const [latest] = newest.toSorted((a, b) => begun(b).localeCompare(begun(a)));
  if (latest === undefined) return [];
  const where = (backup: CompleteBackup): string => targetName(targetOf(backup));
  return newest
    .filter((backup) => begun(backup) < begun(latest))
    .map(
      (backup) =>
        `the newest backup of ${backup.job} in ${where(backup)} is ${backup.backupId}: ${latest.backupId}, which is in ${where(latest)}, is not there`,
    );
}

async function* inEachTarget(
  selector: string,
  { configFile, warn, signal }: AskedFor,
): AsyncGenerator<CompleteBackup | NotFound> {
  const { job, which } = parseSelector(selector);
  const newest: CompleteBackup[] = [];
  for (const { name, directories } of await eachTargetOf(job, configFile)) {
    const found = await orNotFound(job, name, async () =>
      findBackup(await directories({ warn, signal }), selector, warn),
    );
    if ('backupId' in found && which === 'latest') newest.push(found);
    yield found;
  }
  for (const message of describeBehind(newest)) warn(message);
}

/**
 * The backups that are asked for, in that order and each when its turn comes: while one before it is read for hours, a newer one may
 * be made and the old one removed. What is not found is among them, and stands in nobody's way. Rejects with `usage` when
 * there is no usable configuration, or no job.
 */
export async function* askedBackups(asked: AskedFor): AsyncGenerator<CompleteBackup | NotFound> {
  const told = new Set<string>();
  const warn = (message: string): void => {
    if (!told.has(message)) asked.warn(message);
    told.add(message);
  };
  const { allTargets, signal, ...where } = asked;
  const selectors =
    asked.selectors.length > 0 ? asked.selectors : await jobsToSearch(where, { warn, signal });
  for (const selector of selectors) {
    const { job } = parseSelector(selector);
    if (!allTargets) {
      yield await orNotFound(job, null, async () =>
        findBackup(await targetsToSearch({ ...where, job }, { warn, signal }), selector, warn),
      );
      continue;
    }
    try {
      yield* inEachTarget(selector, { ...asked, warn });
    } catch (error) {
      yield { job, target: null, error };
    }
  }
}
