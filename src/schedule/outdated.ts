import { existsSync } from 'node:fs';
import { suggested } from '../system/command-line.js';
import type { InstallFacts } from './plan-install.js';
import type { UnitDirectory } from './unit-directory.js';
import { placeProgram, programOf, TEMPLATES } from './unit-text.js';

/**
 * What is wrong with the units that `schedule install` once wrote, each a sentence without its full stop: they run a Node or a
 * fsbackup that is not there any more, so that every start fails, or they are of another version than this one. Where this
 * one merely lies elsewhere there is nothing wrong.
 */
export async function findOutdated(
  { templates }: Pick<InstallFacts, 'templates'>,
  units: Pick<UnitDirectory, 'template'>,
  isThere: (file: string) => boolean = existsSync,
): Promise<string[]> {
  const complaints: string[] = [];
  for (const name of TEMPLATES) {
    const text = await units.template(name);
    if (text === undefined) continue;
    const program = programOf(text);
    const missing = program.filter((file) => !isThere(file));
    if (missing.length > 0) complaints.push(`${name} runs ${missing.join(' and ')}, which is not there`);
    else if (placeProgram(templates[name], program) !== text)
      complaints.push(`${name} was written by another version of fsbackup than this one`);
  }
  return complaints;
}

/** What mends them. */
export function renewal(): string {
  return suggested('schedule install');
}
