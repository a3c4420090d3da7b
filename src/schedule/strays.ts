import { suggested } from '../system/command-line.js';
import type { UnitDirectory } from './unit-directory.js';
import { configurationOf, unitName } from './unit-text.js';

/** Where schedules are looked for that no job stands behind. */
export type ScheduledUnits = Pick<UnitDirectory, 'jobs' | 'serviceDropIn'>;

/**
 * The jobs whose timers run by a configuration (`configFile`: undefined is the default one) that has no such job any more:
 * renamed, or taken out. Each of their runs fails. Those of another configuration are left out.
 */
export async function findStrays(
  jobs: readonly { name: string }[],
  configFile: string | undefined,
  units: ScheduledUnits,
): Promise<string[]> {
  const strays: string[] = [];
  for (const scheduled of await units.jobs()) {
    if (jobs.some(({ name }) => name === scheduled)) continue;
    if (configurationOf(await units.serviceDropIn(scheduled)) === configFile) strays.push(scheduled);
  }
  return strays;
}

/** What ends the schedule of one. */
export function removalOf(stray: string): string {
  return suggested('schedule remove', [stray]);
}

/** One of them, to people: a sentence without its full stop. */
export function describeStray(stray: string): string {
  return `${unitName(stray, 'timer')} runs a job that the configuration does not have: ${stray}; end it with \`${removalOf(stray)}\``;
}
