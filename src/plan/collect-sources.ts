import path from 'node:path';
import type { JobConfig, SourceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import type { DetectionContext, FilesystemFacts } from '../snapshots/provider.js';
import { excludesBelow, isExcluded } from './excludes.js';
import type { HostFacts, NestedTree, SourceFacts } from './facts.js';
import type { PlannedSource, PlannedTree } from './plan.js';
import { consistencyOf, resolveMode, type Detectors, type ResolvedMode } from './resolve-mode.js';
import type { WindowCandidate } from './windows.js';

/** The snapshots of a job and the trees to copy from them. */
export interface CollectedSources {
  sources: PlannedSource[];
  trees: PlannedTree[];
  candidates: WindowCandidate[];
  warnings: string[];
}

/** What is below a source, told as the user would say it. */
function describeNested({ kind, path: where, fstype }: NestedTree): string {
  return kind === 'subvolume' ? `the subvolume ${where}` : `${where} (${fstype} mounted there)`;
}

/** The exposed snapshot shows what its mountpoint showed, so a path is found at the same place below it. */
function insideSnapshot(
  provider: PlannedSource['provider'],
  filesystem: FilesystemFacts,
  realPath: string,
): string {
  return provider === 'none' ? realPath : path.relative(filesystem.mount.mountpoint, realPath);
}

class Collector {
  readonly collected: CollectedSources = { sources: [], trees: [], candidates: [], warnings: [] };
  readonly #indexes = new Map<string, number>();
  readonly #quiesced: boolean;

  constructor(quiesced: boolean) {
    this.#quiesced = quiesced;
  }

  /** The index of the snapshot that serves this filesystem in this mode: one snapshot for all its trees. */
  #indexOf(config: SourceConfig, filesystem: FilesystemFacts, mode: ResolvedMode): number {
    const { mount } = filesystem;
    const key = JSON.stringify([
      mount.majorMinor,
      mount.root,
      mode.provider,
      mode.freezeMode,
      config.commands,
      config.lvm,
    ]);
    const known = this.#indexes.get(key);
    if (known !== undefined) return known;
    const index = this.collected.sources.length;
    this.#indexes.set(key, index);
    for (const warning of mode.warnings) this.warn(warning);
    this.collected.sources.push({
      mountpoint: mount.mountpoint,
      device: mount.source,
      fstype: mount.fstype,
      majorMinor: mount.majorMinor,
      provider: mode.provider,
      freezeMode: mode.freezeMode,
      freezeModeReason: mode.freezeModeReason,
      consistency: consistencyOf(mode, mount.fstype, this.#quiesced),
      ...(config.commands === undefined ? {} : { commands: config.commands }),
      ...(config.lvm === undefined || mode.provider !== 'lvm' ? {} : { lvm: config.lvm }),
      ...(mode.proveOrigin ? { proveOrigin: true } : {}),
      filesystem,
    });
    this.collected.candidates.push({
      index,
      majorMinor: mount.majorMinor,
      freezeMode: mode.freezeMode,
      writes: mode.writes,
    });
    return index;
  }

  add(
    config: SourceConfig,
    tree: { path: string; realPath: string; exclude: readonly string[] },
    filesystem: FilesystemFacts,
    mode: ResolvedMode,
  ): void {
    this.collected.trees.push({
      path: tree.path,
      source: this.#indexOf(config, filesystem, mode),
      inside: insideSnapshot(mode.provider, filesystem, tree.realPath),
      exclude: tree.exclude,
    });
  }

  warn(message: string): void {
    this.collected.warnings.push(message);
  }
}

/** What the configuration asks of a tree below a source: the source's settings, but the storage decides afresh. */
function nestedConfig(config: SourceConfig, nested: NestedTree): SourceConfig {
  // A command array is written for one device, so it serves its own filesystem alone.
  const { commands, ...rest } = config;
  if (nested.kind === 'subvolume' && commands !== undefined) return { ...rest, commands };
  return {
    ...rest,
    path: nested.path,
    snapshot: config.snapshot === 'none' ? 'none' : 'auto',
    freezeMode: 'auto',
  };
}

function collectNested(
  collector: Collector,
  config: SourceConfig,
  facts: SourceFacts,
  { detectors, layers, targets, detection }: CollectContext,
): void {
  for (const nested of facts.nested) {
    const relative = path.relative(facts.realPath, nested.path);
    if (isExcluded(config.exclude, relative)) continue;
    // The backups themselves are no part of what is backed up.
    if (targets.some((target) => target.mountpoint === nested.path)) continue;
    if (!config.recursive) {
      collector.warn(
        `${describeNested(nested)} below ${facts.path} is not in the backup; set \`recursive: true\` or exclude it`,
      );
      continue;
    }
    const { filesystem } = nested;
    const leaveOut = (why: string): void =>
      collector.warn(`${describeNested(nested)} below ${facts.path} is not in the backup: ${why}`);
    if (filesystem === undefined) {
      leaveOut(nested.problem ?? 'nothing is known of it');
      continue;
    }
    const nestedSource = nestedConfig(config, nested);
    try {
      const mode = resolveMode(nestedSource, filesystem, detectors, layers, detection);
      const tree = {
        path: path.join(facts.path, relative),
        realPath: nested.path,
        exclude: excludesBelow(config.exclude, relative),
      };
      collector.add(nestedSource, tree, filesystem, mode);
    } catch (error) {
      if (!(error instanceof FsbackupError)) throw error;
      leaveOut(error.message);
    }
  }
}

/** Those that are mounted nowhere are in no tree, so nothing else would tell. */
function warnOfUnmounted(collector: Collector, { path: where, unmounted = [] }: SourceFacts): void {
  if (unmounted.length === 0) return;
  const named = unmounted.slice(0, 3).join(', ');
  const more = unmounted.length > 3 ? ` and ${unmounted.length - 3} more` : '';
  const them = unmounted.length === 1 ? 'the dataset' : 'the datasets';
  collector.warn(
    `${them} ${named}${more} below that of ${where} ${unmounted.length === 1 ? 'is' : 'are'} not in the backup: not mounted`,
  );
}

interface CollectContext extends Pick<HostFacts, 'layers' | 'targets'> {
  detectors: Detectors;
  detection: DetectionContext;
}

/**
 * Resolves the sources of a job, with what lies below them, to snapshots and trees; parents before children.
 * Pure. Throws as `resolveMode` for a configured source; a tree below one that cannot be had is a warning.
 */
export function collectSources(
  job: JobConfig,
  facts: readonly SourceFacts[],
  context: CollectContext,
): CollectedSources {
  const collector = new Collector(job.quiesce.length > 0);
  for (const [index, config] of job.sources.entries()) {
    const found = facts[index];
    if (found === undefined) throw new Error(`no facts of the source ${config.path}`);
    const mode = resolveMode(config, found.filesystem, context.detectors, context.layers, context.detection);
    const tree = { path: found.path, realPath: found.realPath, exclude: config.exclude };
    collector.add(config, tree, found.filesystem, mode);
    collectNested(collector, config, found, context);
    if (config.recursive) warnOfUnmounted(collector, found);
  }
  return collector.collected;
}
