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
        { name: service, text: serviceDropIn(job, facts.configFile) },
        { name: timer, text: timerDropIn(calendar) },
      ];
    }),
  ];
}

/** Cron's words for what systemd calls the same. */
const CRON_WORDS: Readonly<Record<string, string>> = {
  hourly: '@hourly',
  daily: '@daily',
  weekly: '@weekly',
  monthly: '@monthly',
  yearly: '@yearly',
  annually: '@yearly',
};
const CRON_DEFAULT = '30 2 * * *';

/** A word for the shell that cron starts; `%` would end the command. */
function cronWord(word: string): string {
  const quoted = /^[A-Za-z0-9_./@:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
  return quoted.replaceAll('%', String.raw`\%`);
}

/** Pure. The line of /etc/cron.d/fsbackup that does the same where there is no systemd. */
export function crontabLine({ job, calendar }: Schedule, facts: Omit<InstallFacts, 'templates'>): string {
  const when = CRON_WORDS[calendar ?? ''] ?? CRON_DEFAULT;
  const config = facts.configFile === undefined ? [] : ['--config', facts.configFile];
  const words = [...facts.program, 'run', '--quiet', '--lock-wait', '6h', ...config, job.name];
  return `${when} root ${words.map(cronWord).join(' ')}`;
}
