import type { InstallFacts, Schedule } from './plan-install.js';
import { shellWord } from '../system/command-line.js';

/** Cron's words for what systemd calls the same. */
const CRON_WORDS: Readonly<Record<string, string>> = {
  hourly: '@hourly',
  daily: '@daily',
  weekly: '@weekly',
  monthly: '@monthly',
  yearly: '@yearly',
  annually: '@yearly',
};
/** When the packaged timer runs a job. */
const CRON_DEFAULT = '30 2 * * *';

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
/** A time of each day, or of some days of the week: of what systemd.time(7) knows, cron has words for no more. */
const TIME_OF_DAY =
  /^(?:(?<days>[A-Z][A-Za-z,.]+) )?(?:\*-\*-\* )?(?<hour>[01]?\d|2[0-3]):(?<minute>[0-5]\d)(?::00)?$/;

/** `Mon,Thu` is 1,4 and `Mon..Fri` is 1-5: in lists and ranges crontab(5) takes no names. Undefined for what it has none for. */
function cronDays(days: string): string | undefined {
  const ranges = days.split(',').map((range) => range.split('..').map((day) => DAYS.indexOf(day) + 1));
  const known = ranges.every(
    ([first = 0, last = 7, ...more]) => first > 0 && last > 0 && first <= last && more.length === 0,
  );
  return known ? ranges.map((range) => range.join('-')).join(',') : undefined;
}

/** When, in cron's words; undefined where it has none for it. */
function cronTime(calendar: string): string | undefined {
  const word = CRON_WORDS[calendar];
  if (word !== undefined) return word;
  const { days, hour, minute } = TIME_OF_DAY.exec(calendar)?.groups ?? {};
  const weekdays = days === undefined ? '*' : cronDays(days);
  if (hour === undefined || weekdays === undefined) return undefined;
  return `${Number(minute)} ${Number(hour)} * * ${weekdays}`;
}

/** A word for the shell that cron starts; `%` would end the command. */
function cronWord(word: string): string {
  return shellWord(word).replaceAll('%', String.raw`\%`);
}

/**
 * Pure. The lines of /etc/cron.d/fsbackup that do the same where there is no systemd; the first is a comment where cron has no
 * words for when, and another time stands there.
 */
export function crontabLines(
  { job, calendar }: Schedule,
  { program, configFile, directories }: Pick<InstallFacts, 'program' | 'configFile' | 'directories'>,
): string[] {
  const when = calendar === undefined ? CRON_DEFAULT : cronTime(calendar);
  const config = configFile === undefined ? [] : ['--config', configFile];
  const words = [...program, 'run', '--quiet', '--lock-wait', '6h', ...config, job.name];
  const variables = Object.entries(directories).map(([name, value]) => `${name}=${cronWord(value)} `);
  const line = `${when ?? CRON_DEFAULT} root ${variables.join('')}${words.map(cronWord).join(' ')}`;
  if (when !== undefined) return [line];
  return [`# ${job.name}: write "${calendar ?? ''}" in cron's words; here it is each day at 02:30`, line];
}
