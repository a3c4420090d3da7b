import { stringify } from 'yaml';
import { formatDuration } from './duration.js';
import { formatSize, formatSnapshotSize } from './size.js';
import { formatSpan } from './span.js';
import type { Config, DrillConfig, FreezeSettings, JobConfig, SourceConfig, TargetConfig } from './types.js';

function renderFreeze({ timeoutMs, maxHoldMs }: FreezeSettings): object {
  const timeout =
    timeoutMs === null ? { timeout: '0s', noTimeout: true } : { timeout: formatDuration(timeoutMs) };
  return { ...timeout, maxHold: formatDuration(maxHoldMs) };
}

function renderSource({ lvm, ...source }: SourceConfig): object {
  if (lvm === undefined) return source;
  const { size, extend, poolThresholdPercent, ...rest } = lvm;
  return {
    ...source,
    lvm: { size: formatSnapshotSize(size), extend, poolThreshold: `${poolThresholdPercent}%`, ...rest },
  };
}

function renderPlace({ repository, path, mustBeMountpoint, engine }: TargetConfig): object {
  if (repository === undefined) return { path, engine, mustBeMountpoint };
  return { ...repository, engine };
}

function renderTarget({ keep, limitBytesPerSecond, ...rest }: TargetConfig): object {
  const limit = limitBytesPerSecond === undefined ? {} : { limit: formatSize(limitBytesPerSecond) };
  const target = { ...renderPlace(rest), ...limit };
  if (keep === undefined) return target;
  const { withinMs, ...counts } = keep;
  return {
    ...target,
    keep: { ...counts, ...(withinMs === undefined ? {} : { within: formatSpan(withinMs) }) },
  };
}

function renderDrill({ timeoutMs, ...rest }: DrillConfig): object {
  return { ...rest, timeout: formatDuration(timeoutMs) };
}

function renderJob(job: JobConfig): object {
  const { sources, targets, quiesce, freeze, attempts, mustBeOneInstant, drill, schedule } = job;
  const steps = quiesce.map(({ name, before, after, timeoutMs }) => ({
    name,
    ...(before.length === 0 ? {} : { before }),
    ...(after.length === 0 ? {} : { after }),
    timeout: formatDuration(timeoutMs),
  }));
  return {
    sources: sources.map(renderSource),
    targets: targets.map(renderTarget),
    quiesce: steps,
    freeze: renderFreeze(freeze),
    attempts,
    ...(mustBeOneInstant === undefined ? {} : { mustBeOneInstant }),
    ...(drill === undefined ? {} : { drill: renderDrill(drill) }),
    ...(schedule === undefined ? {} : { schedule }),
  };
}

/** The configuration as a file that says everything: loading it gives the same configuration. */
export function renderConfig(config: Config): string {
  const jobs = Object.fromEntries(config.jobs.map((job) => [job.name, renderJob(job)]));
  return stringify({ version: config.version, jobs });
}
