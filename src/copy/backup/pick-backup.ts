import { parseSelector } from './backup-select.js';
import { targetAt } from '../repository/catalogue.js';
import { chooseCopy, describeChoice, type ChosenCopy } from './choose-copy.js';
import { targetsToSearch, type WhereBackupsAre } from '../target/configured-targets.js';
import { knownVerifications } from '../verify/known-verifications.js';

/** Where the backup is looked for, and whom a doubt is told. */
export interface PickBackupOptions extends Omit<WhereBackupsAre, 'job'> {
  /** As `chooseCopy` has it. */
  mayBeBad: boolean;
  warn: (message: string) => void;
}

/**
 * The copy that `selector` names and that is best, by what this host knows of them. Warns of each that was passed over, and of
 * what speaks against the one that is used, and of targets that are not there. Rejects as `chooseCopy` and `targetsToSearch` do.
 */
export async function pickBackup(
  selector: string,
  { mayBeBad, warn, ...where }: PickBackupOptions,
): Promise<ChosenCopy> {
  const { job } = parseSelector(selector);
  const targets = await targetsToSearch({ ...where, job }, { warn });
  const named = await Promise.all(targets.map((target) => targetAt(target)));
  const verifications = await knownVerifications(job, named, warn);
  const choice = await chooseCopy(targets, selector, { verifications, mayBeBad, warn });
  for (const message of describeChoice(choice)) warn(message);
  return choice;
}
