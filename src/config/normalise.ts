import { catalogueDirectory, type RepositorySettings } from '../backup-target.js';
import type { RawJob } from './schema.js';
import { normaliseLvm } from './lvm-settings.js';
import type {
  DrillConfig,
  FreezeSettings,
  JobConfig,
  KeepRules,
  QuiesceConfig,
  SourceConfig,
  TargetConfig,
} from './types.js';

export const DEFAULT_ATTEMPTS = 3;
/** Of a drill's command. */
export const DEFAULT_DRILL_TIMEOUT_MS = 10 * 60_000;
const DEFAULT_QUIESCE_TIMEOUT_MS = 30_000;

function normaliseSource(raw: RawJob['sources'][number]): SourceConfig {
  const { lvm, ...source }: Exclude<RawJob['sources'][number], string> =
    typeof raw === 'string' ? { path: raw } : raw;
  return {
    snapshot: 'auto',
    freezeMode: 'auto',
    exclude: [],
    recursive: false,
    ...source,
    ...(lvm === undefined ? {} : { lvm: normaliseLvm(lvm) }),
  };
}

function normaliseKeep({ within, ...counts }: NonNullable<RawJob['keep']>): KeepRules {
  return { ...counts, ...(within === undefined ? {} : { withinMs: within }) };
}

type RawTarget = Exclude<RawJob['targets'][number], string>;
type RawSecret = NonNullable<RawTarget['password']>;

function normaliseSecret({ file, command, credential }: RawSecret): RepositorySettings['password'] & object {
  if (file !== undefined) return { file };
  // The schema lets just one of them through; what names none names no credential that there is.
  return command === undefined ? { credential: credential ?? '' } : { command };
}

function normaliseRepository(repository: string, raw: RawTarget): RepositorySettings {
  const { initialise = false, password, environment = {}, options, commands, exitCodes } = raw;
  return {
    repository,
    initialise,
    ...(password === undefined ? {} : { password: normaliseSecret(password) }),
    environment: Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [
        name,
        typeof value === 'string' ? value : normaliseSecret(value),
      ]),
    ),
    ...(options === undefined ? {} : { options }),
    ...(commands === undefined ? {} : { commands }),
    ...(exitCodes === undefined ? {} : { exitCodes }),
  };
}

function normaliseTarget(
  raw: RawJob['targets'][number],
  ofJob: RawJob['keep'],
  stateDirectory: string,
): TargetConfig {
  const target: RawTarget = typeof raw === 'string' ? { path: raw } : raw;
  const { engine = 'rsync', mustBeMountpoint = false, keep = ofJob, path = '', repository, limit } = target;
  const rules = keep === undefined ? {} : { keep: normaliseKeep(keep) };
  const limited = limit === undefined ? {} : { limitBytesPerSecond: limit };
  const common = { engine, mustBeMountpoint, ...rules, ...limited };
  if (repository === undefined) return { path, ...common };
  const directory = catalogueDirectory(engine, repository, stateDirectory);
  return { path: directory, repository: normaliseRepository(repository, target), ...common };
}

function normaliseQuiesce(raw: NonNullable<RawJob['quiesce']>[number]): QuiesceConfig {
  const { name, before = [], after = [], timeout = DEFAULT_QUIESCE_TIMEOUT_MS } = raw;
  return { name, before, after, timeoutMs: timeout };
}

function normaliseDrill({
  timeout = DEFAULT_DRILL_TIMEOUT_MS,
  ...rest
}: NonNullable<RawJob['drill']>): DrillConfig {
  return { timeoutMs: timeout, ...rest };
}

/** A job as written, with every default filled in. Pure. */
export function normaliseJob(
  name: string,
  raw: RawJob,
  { stateDirectory, ...effective }: { freeze: FreezeSettings; attempts: number; stateDirectory: string },
): JobConfig {
  return {
    name,
    sources: raw.sources.map((source) => normaliseSource(source)),
    targets: raw.targets.map((target) => normaliseTarget(target, raw.keep, stateDirectory)),
    quiesce: (raw.quiesce ?? []).map((step) => normaliseQuiesce(step)),
    ...(raw.mustBeOneInstant === undefined ? {} : { mustBeOneInstant: raw.mustBeOneInstant }),
    ...(raw.drill === undefined ? {} : { drill: normaliseDrill(raw.drill) }),
    ...(raw.schedule === undefined ? {} : { schedule: raw.schedule }),
    ...effective,
  };
}
