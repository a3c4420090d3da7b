import type { JobConfig } from '../config/types.js';

/** In the first line of every file that `schedule install` writes: what lacks it is somebody else's. */
export const MARKER = 'fsbackup schedule install';

/** Of the drop-ins; those of `systemctl edit` are called override.conf, and win. */
export const DROP_IN = '50-fsbackup.conf';

export const TEMPLATES = ['fsbackup@.service', 'fsbackup@.timer'] as const;

export type UnitKind = 'service' | 'timer';

/**
 * The unit of a job. The name of a job holds nothing that systemd wants escaped but `-`, which it takes as it is and
 * which `%i` gives back: so the instance is the name.
 */
export function unitName(job: string, kind: UnitKind): string {
  return `fsbackup@${job}.${kind}`;
}

/** A word of an ExecStart= line, after the rules of systemd.service(5) for quotes, specifiers and variables. */
export function quoteWord(word: string): string {
  const escaped = word
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$');
  return `"${escaped}"`;
}

/** The packaged service with `program` (its first words) in the place of `fsbackup`: systemd does not look where npm put it. */
export function placeProgram(service: string, program: readonly string[]): string {
  const words = program.map(quoteWord).join(' ');
  return service.replaceAll(/^(Exec\w+=-?)fsbackup /gm, (_, key: string) => `${key}${words} `);
}

/** Pure. What `placeProgram` put into a service; nothing for a text in which it put nothing. */
export function programOf(service: string): string[] {
  const [, words = ''] = /^ExecStart=((?:"(?:[^"\\]|\\.)*" )*)/m.exec(service) ?? [];
  return [...words.matchAll(/"((?:[^"\\]|\\.)*)" /g)].map(([, word = '']) =>
    word.replaceAll(/\\(.)|(%|\$)\2/g, (_, escaped?: string, doubled?: string) => escaped ?? doubled ?? ''),
  );
}

/** What a run finds only where it is told: see `InstallFacts`. */
export interface OtherPlaces {
  configFile: string | undefined;
  directories: Readonly<Record<string, string>>;
}

const CONFIG_VARIABLE = 'FSBACKUP_CONFIG';

function environmentLine(name: string, value: string): string {
  return `Environment=${quoteVariable(name, value)}`;
}

/** Pure. What of a job's service depends on the job and on who installs it: its credentials, and places that are not the default ones. */
export function serviceDropIn(job: JobConfig, { configFile, directories }: OtherPlaces): string {
  return section('Service', [
    ...(configFile === undefined ? [] : [environmentLine(CONFIG_VARIABLE, configFile)]),
    ...Object.entries(directories).map(([name, value]) => environmentLine(name, value)),
    // By name alone, so that /etc/credstore, and what the service manager itself was given, are looked through.
    ...credentialsOf(job).map((name) => `LoadCredential=${name}`),
  ]);
}

/** Pure. The configuration by which a service with this drop-in of ours, or without one, runs; undefined: the default one. */
export function configurationOf(dropIn: string | undefined): string | undefined {
  const [, written] = new RegExp(`^Environment="${CONFIG_VARIABLE}=(.*)"$`, 'm').exec(dropIn ?? '') ?? [];
  return written?.replaceAll(/\\(.)|%%/g, (_, escaped: string | undefined) => escaped ?? '%');
}

/** Pure. When the job runs; without a calendar, what the packaged timer says. */
export function timerDropIn(calendar: string | undefined): string {
  if (calendar === undefined) return section('Timer', []);
  return section('Timer', ['OnCalendar=', `OnCalendar=${calendar}`, 'RandomizedDelaySec=0']);
}

/** The credentials of systemd that a job's targets read secrets from, each once. */
export function credentialsOf({ targets }: JobConfig): string[] {
  const sources = targets.flatMap(({ repository }) =>
    repository === undefined ? [] : [repository.password, ...Object.values(repository.environment)],
  );
  const names = sources.flatMap((source) =>
    typeof source === 'object' && 'credential' in source ? [source.credential] : [],
  );
  return [...new Set(names)].toSorted();
}

function quoteVariable(name: string, value: string): string {
  const escaped = value
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('%', '%%');
  return `"${name}=${escaped}"`;
}

function section(name: string, lines: readonly string[]): string {
  const head = `# Written by \`${MARKER}\`; changes of your own belong into another drop-in: systemctl edit`;
  return [head, `[${name}]`, ...lines, ''].join('\n');
}
