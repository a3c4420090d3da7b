import { FsbackupError } from '../errors.js';
import { MAX_DURATION_MS, parseDurationOrSeconds } from './duration.js';
import { ENVIRONMENT_NAMES, FLAG_NAMES, type FreezeLayer, type FreezeNames } from './freeze-settings.js';

/** Settings from flags or the environment: they hold for every job, over what the configuration says. */
export interface Overrides {
  timeoutMs?: number;
  maxHoldMs?: number;
  noTimeout?: boolean;
  attempts?: number;
}

/** A layer of overrides whose complaints are told by the name of the flag or variable. */
export type OverrideLayer = FreezeLayer<FreezeNames>;

function readDuration(env: NodeJS.ProcessEnv, name: string): number | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const ms = parseDurationOrSeconds(text);
  if (ms !== undefined && ms <= MAX_DURATION_MS) return ms;
  const why = ms === undefined ? 'is not a duration' : 'is too long: 24 days (576h) are the most';
  throw new FsbackupError('usage', `${name}="${text}" ${why}`, {
    hint: `Set ${name} to seconds or to a number with its unit, such as 500ms, 10s or 5m, or unset it.`,
  });
}

function readAttempts(env: NodeJS.ProcessEnv): number | undefined {
  const text = env['FSBACKUP_ATTEMPTS'];
  if (text === undefined || text === '') return undefined;
  const attempts = Number(text);
  if (Number.isInteger(attempts) && attempts >= 1 && attempts <= 100) return attempts;
  throw new FsbackupError('usage', `FSBACKUP_ATTEMPTS="${text}" is not a number of attempts`, {
    hint: 'Set FSBACKUP_ATTEMPTS to a whole number from 1 to 100, or unset it.',
  });
}

function readSwitch(env: NodeJS.ProcessEnv, name: string): boolean | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  if (text === '1' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  throw new FsbackupError('usage', `${name}="${text}" is neither 1 nor 0`, {
    hint: `Set ${name} to 1 or 0, or unset it.`,
  });
}

/** What is defined of some settings. */
function defined<Settings extends object>(settings: {
  [Key in keyof Settings]: Settings[Key] | undefined;
}): Partial<Settings> {
  return Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  ) as Partial<Settings>;
}

/** FSBACKUP_TIMEOUT, FSBACKUP_MAX_HOLD, FSBACKUP_NO_TIMEOUT, FSBACKUP_ATTEMPTS; an empty one counts as unset. */
export function readEnvironment(env: NodeJS.ProcessEnv): Overrides {
  return defined<Overrides>({
    timeoutMs: readDuration(env, 'FSBACKUP_TIMEOUT'),
    maxHoldMs: readDuration(env, 'FSBACKUP_MAX_HOLD'),
    noTimeout: readSwitch(env, 'FSBACKUP_NO_TIMEOUT'),
    attempts: readAttempts(env),
  });
}

/** The freeze settings of flags and environment, the flags first. */
export function overrideLayers(flags: Overrides, environment: Overrides): OverrideLayer[] {
  const layer = (names: FreezeNames, { timeoutMs, maxHoldMs, noTimeout }: Overrides): OverrideLayer => ({
    origin: names,
    names,
    ...defined<Overrides>({ timeoutMs, maxHoldMs, noTimeout }),
  });
  return [layer(FLAG_NAMES, flags), layer(ENVIRONMENT_NAMES, environment)];
}

/** The error for a freeze setting that a flag or variable made impossible. */
export function overrideError(name: string, message: string): FsbackupError {
  return new FsbackupError('usage', `${name}: ${message}`, {
    hint: 'docs/configuration.md explains timeout, maxHold and noTimeout, and where each may be set.',
  });
}
