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

function normaliseTarget(raw: RawJob['targets'][number], ofJob: RawJob['keep']): TargetConfig {
  const { keep = ofJob, ...target } = typeof raw === 'string' ? { path: raw } : raw;
  const rules = keep === undefined ? {} : { keep: normaliseKeep(keep) };
  return { engine: 'rsync', mustBeMountpoint: false, ...target, ...rules };
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
  effective: { freeze: FreezeSettings; attempts: number },
): JobConfig {
  return {
    name,
    sources: raw.sources.map((source) => normaliseSource(source)),
    targets: raw.targets.map((target) => normaliseTarget(target, raw.keep)),
    quiesce: (raw.quiesce ?? []).map((step) => normaliseQuiesce(step)),
    ...(raw.drill === undefined ? {} : { drill: normaliseDrill(raw.drill) }),
    ...effective,
  };
}
