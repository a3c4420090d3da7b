import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { describeNested } from '../plan/collect-sources.js';
import type { Plan } from '../plan/plan.js';
import { isWithin, type Mount } from '../system/mountinfo.js';
import type { FoundNested } from './find-nested.js';

/** Finds what lies below a directory that is on `mount`, see `findNested`. */
export type LookBelow = (
  directory: string,
  mount: Mount,
  exclude: readonly string[],
) => Promise<readonly FoundNested[]>;

interface Look {
  directory: string;
  mount: Mount;
  exclude: readonly string[];
}

/** Where each tree lives; one that lies in another tree of its filesystem is looked at with that. */
function looksOf({ trees, sources }: Plan): Look[] {
  const looks = trees.flatMap(({ source, inside, exclude }): Look[] => {
    const planned = sources[source];
    if (planned === undefined) return [];
    const { mount } = planned.filesystem;
    const directory = planned.provider === 'none' ? inside : path.join(mount.mountpoint, inside);
    return [{ directory, mount, exclude }];
  });
  return looks.filter(
    (look) =>
      !looks.some(
        ({ directory, mount }) =>
          directory !== look.directory &&
          isWithin(look.directory, directory) &&
          mount.majorMinor === look.mount.majorMinor,
      ),
  );
}

async function warningsOf({ directory, mount, exclude }: Look, plan: Plan, lookBelow: LookBelow) {
  try {
    const found = await lookBelow(directory, mount, exclude);
    return found
      .filter((nested) => !plan.nested.includes(nested.path))
      .map(
        (nested) => `${describeNested(nested)} is not in the backup: it was not there yet when the run began`,
      );
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    return [`whether something was made below ${directory} during the run cannot be told: ${error.message}`];
  }
}

/**
 * What was mounted, or made a subvolume, below a tree after the plan: in the snapshot it is an empty directory, of which a copy
 * program says nothing. As warnings.
 */
export async function madeSince(plan: Plan, lookBelow: LookBelow): Promise<string[]> {
  const warnings: string[] = [];
  for (const look of looksOf(plan)) warnings.push(...(await warningsOf(look, plan, lookBelow)));
  return warnings;
}
