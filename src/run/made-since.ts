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

/** What is not in the backup, where that can be told, and the warning. */
export interface MadeSince {
  path?: string;
  warning: string;
}

async function findOf(
  { directory, mount, exclude }: Look,
  plan: Plan,
  lookBelow: LookBelow,
): Promise<MadeSince[]> {
  try {
    const found = await lookBelow(directory, mount, exclude);
    return found
      .filter((nested) => !plan.nested.includes(nested.path))
      .map((nested) => ({
        path: nested.path,
        warning: `${describeNested(nested)} is not in the backup: it was not there yet when the run began`,
      }));
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    const warning = `whether something was made below ${directory} during the run cannot be told: ${error.message}`;
    return [{ warning }];
  }
}

/**
 * What was mounted, or made a subvolume, below a tree after the plan: in the snapshot it is an empty directory, of which a copy
 * program says nothing.
 */
export async function madeSince(plan: Plan, lookBelow: LookBelow): Promise<MadeSince[]> {
  const made: MadeSince[] = [];
  for (const look of looksOf(plan)) made.push(...(await findOf(look, plan, lookBelow)));
  return made;
}
