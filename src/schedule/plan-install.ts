import path from 'node:path';
import type { JobConfig } from '../config/types.js';
import { DROP_IN, placeProgram, serviceDropIn, TEMPLATES, timerDropIn, unitName } from './unit-text.js';

/** A file of the directory of units. */
export interface UnitFile {
  /** Relative to that directory. */
  name: string;
  text: string;
}

/** What an installation is made of. */
export interface InstallFacts {
  /** The packaged units, by their names. */
  templates: Readonly<Record<(typeof TEMPLATES)[number], string>>;
  /** What runs fsbackup: Node and its script, absolute. */
  program: readonly string[];
  /** Absolute; undefined: the default one. */
  configFile: string | undefined;
  /** The variables of the run and the state directory, where these are not the default ones: other locks, another history. */
  directories: Readonly<Record<string, string>>;
}

/** A job to run, and when; without a calendar, when the packaged timer says. */
export interface Schedule {
  job: JobConfig;
  calendar: string | undefined;
}

/** The drop-ins of a job, relative to the directory of units. */
export function dropInsOf(job: string): string[] {
  return (['service', 'timer'] as const).map((kind) => path.join(`${unitName(job, kind)}.d`, DROP_IN));
}

/** Pure. The files that have systemd run the jobs. */
export function planInstall(schedules: readonly Schedule[], facts: InstallFacts): UnitFile[] {
  return [
    ...TEMPLATES.map((name) => ({ name, text: placeProgram(facts.templates[name], facts.program) })),
    ...schedules.flatMap(({ job, calendar }) => {
      const [service = '', timer = ''] = dropInsOf(job.name);
      return [
        { name: service, text: serviceDropIn(job, facts) },
        { name: timer, text: timerDropIn(calendar) },
      ];
    }),
  ];
}
