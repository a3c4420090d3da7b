import path from 'node:path';
import type { JobConfig, SourceConfig } from '../config/types.js';
import { FsbackupError } from '../errors.js';
import type { DetectionContext, FilesystemFacts } from '../snapshots/provider.js';
import type { Mount } from '../system/mountinfo.js';
import { askedOfFilesystems, snapshotIdentity, withWhatIsAsked } from './asked-of-filesystem.js';
import { excludesBelow, isExcluded } from './excludes.js';
import type { HostFacts, NestedTree, SourceFacts } from './facts.js';
import type { PlannedSource, PlannedTree } from './plan.js';
import { consistencyOf, resolveMode, type Detectors, type ResolvedMode } from './resolve-mode.js';
import { placeInFilesystem, sharedMount } from './shared-mount.js';
import type { WindowCandidate } from './windows.js';

/** A source, before it is known at which instant it is. */
export interface CollectedSource extends Omit<PlannedSource, 'instant'> {
  /** As of a detection. */
  apart?: string;
}

/** The snapshots of a job and the trees to copy from them. */
export interface CollectedSources {
  sources: CollectedSource[];
  trees: PlannedTree[];
  candidates: WindowCandidate[];
  /** What lies below a source and is in no tree although nobody excluded it: each is warned of. */
  leftOut: string[];
  warnings: string[];
}

/** What is below a source, told as the user would say it. */
export function describeNested({
  kind,
  path: where,
  fstype,
}: Pick<NestedTree, 'kind' | 'path' | 'fstype'>): string {
  return kind === 'subvolume' ? `the subvolume ${where}` : `${where} (${fstype} mounted there)`;
}

/** A snapshot to be, or a filesystem to read live, and the mounts that trees of it were found through. */
interface Collected {
  source: CollectedSource;
  mounts: [Mount, ...Mount[]];
  writes: ReadonlySet<string>;
}

/** A tree before it is known what the exposed snapshot of its source will show. */
interface PlacedTree extends Omit<PlannedTree, 'inside'> {
  mount: Mount;
  realPath: string;
}

class Collector {
  readonly #collected: Collected[] = [];
  readonly #trees: PlacedTree[] = [];
  readonly #warnings: string[] = [];
  readonly #leftOut = new Set<string>();
  readonly #indexes = new Map<string, number>();
  readonly #quiesced: boolean;

  constructor(quiesced: boolean) {
    this.#quiesced = quiesced;
  }

  /** The index of the snapshot that serves this filesystem: one for all its trees, by whatever mount they are seen. */
  #indexOf(config: SourceConfig, filesystem: FilesystemFacts, mode: ResolvedMode): number {
    const { mount } = filesystem;
    const { provider, freezeMode } = mode;
    // A command is told a mountpoint and shows what that showed; a live tree is read where it is.
    const own = provider === 'command' || provider === 'none' ? [mount.root, config.commands] : [];
    const key = JSON.stringify([snapshotIdentity(filesystem), provider, freezeMode, ...own]);
    const known = this.#indexes.get(key);
    if (known !== undefined) {
      this.#collected[known]?.mounts.push(mount);
      return known;
    }
    const index = this.#collected.length;
    this.#indexes.set(key, index);
    const source: CollectedSource = {
      mountpoint: mount.mountpoint,
      device: mount.source,
      fstype: mount.fstype,
      majorMinor: mount.majorMinor,
      provider,
      freezeMode,
      freezeModeReason: mode.freezeModeReason,
      consistency: consistencyOf(mode, mount.fstype, this.#quiesced),
      ...(config.commands === undefined ? {} : { commands: config.commands }),
      ...(config.lvm === undefined || provider !== 'lvm' ? {} : { lvm: config.lvm }),
      ...(mode.proveOrigin ? { proveOrigin: true } : {}),
      ...(mode.together === undefined ? {} : { together: mode.together }),
      ...(mode.apart === undefined ? {} : { apart: mode.apart }),
      filesystem,
    };
    this.#collected.push({ source, mounts: [mount], writes: mode.writes });
    return index;
  }

  add(
    config: SourceConfig,
    tree: { path: string; realPath: string; exclude: readonly string[] },
    filesystem: FilesystemFacts,
    mode: ResolvedMode,
  ): void {
    const { path: name, realPath, exclude } = tree;
    const source = this.#indexOf(config, filesystem, mode);
    this.#trees.push({ path: name, source, exclude, mount: filesystem.mount, realPath });
  }

  /** What it is, and the warning. */
  leaveOut(what: string, message: string): void {
    this.#leftOut.add(what);
    this.#warnings.push(message);
  }

  /** All that was added, each snapshot shown as far as its trees need it. */
  collected(): CollectedSources {
    const sources = this.#collected.map(({ source, mounts }): CollectedSource => {
      const mount = sharedMount(mounts);
      const { mountpoint } = mount;
      const others = new Set(mounts.map((one) => one.mountpoint).filter((one) => one !== mountpoint));
      const filesystem = { ...source.filesystem, mount };
      return {
        ...source,
        mountpoint,
        ...(others.size === 0 ? {} : { otherMountpoints: [...others] }),
        filesystem,
      };
    });
    return {
      sources,
      trees: this.#trees.map(({ path: name, source, exclude, mount, realPath }) => {
        const root = sources[source]?.filesystem.mount.root ?? '/';
        const live = sources[source]?.provider === 'none';
        const inside = live ? realPath : path.relative(root, placeInFilesystem(mount, realPath));
        return { path: name, source, inside, exclude };
      }),
      candidates: this.#collected.map(({ source: { majorMinor, freezeMode }, writes }, index) => ({
        index,
        majorMinor,
        freezeMode,
        writes,
      })),
      leftOut: [...this.#leftOut],
      warnings: this.#warnings,
    };
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
  { detectors, layers, targets, detection, asked }: NestedContext,
): void {
  for (const nested of facts.nested) {
    const relative = path.relative(facts.realPath, nested.path);
    if (isExcluded(config.exclude, relative)) continue;
    const onIt = targets.filter((target) => target.mountpoint === nested.path);
    // The backups themselves are no part of what is backed up.
    if (onIt.some((target) => target.realPath === nested.path)) continue;
    const inTheWay = onIt.find(
      (target) => !isExcluded(config.exclude, path.relative(facts.realPath, target.realPath)),
    );
    if (inTheWay !== undefined) {
      collector.leaveOut(
        nested.path,
        `${describeNested(nested)} below ${facts.path} is not in the backup: the target ${inTheWay.path} lies in it; ` +
          'exclude that from the source to have the rest, or all of it',
      );
      continue;
    }
    if (!config.recursive) {
      collector.leaveOut(
        nested.path,
        `${describeNested(nested)} below ${facts.path} is not in the backup; set \`recursive: true\` or exclude it`,
      );
      continue;
    }
    const { filesystem } = nested;
    const leaveOut = (why: string): void =>
      collector.leaveOut(
        nested.path,
        `${describeNested(nested)} below ${facts.path} is not in the backup: ${why}`,
      );
    if (filesystem === undefined) {
      leaveOut(nested.problem ?? 'nothing is known of it');
      continue;
    }
    // On a filesystem that the configuration says something of, that holds.
    const nestedSource = withWhatIsAsked(nestedConfig(config, nested), filesystem, asked);
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
  collector.leaveOut(
    unmounted.join(', '),
    `${them} ${named}${more} below that of ${where} ${unmounted.length === 1 ? 'is' : 'are'} not in the backup: not mounted`,
  );
}

/** What is mounted is backed up or named; so is what should be, as far as the source would have it. */
function warnOfAbsent(
  collector: Collector,
  { exclude }: SourceConfig,
  { path: where, realPath, absent = [] }: SourceFacts,
): void {
  for (const mountpoint of absent) {
    if (isExcluded(exclude, path.relative(realPath, mountpoint))) continue;
    collector.leaveOut(
      mountpoint,
      `${mountpoint} below ${where} is not in the backup: /etc/fstab has a filesystem for it, which is not mounted`,
    );
  }
}

interface NestedContext extends CollectContext {
  asked: ReturnType<typeof askedOfFilesystems>;
}

interface CollectContext extends Pick<HostFacts, 'layers' | 'targets'> {
  detectors: Detectors;
  detection: DetectionContext;
}

/**
 * Resolves the sources of a job, with what lies below them, to snapshots and trees; parents before children.
 * Pure. Throws as `askedOfFilesystems`, and as `resolveMode` for a configured source; a tree below one that cannot be
 * had is a warning.
 */
export function collectSources(
  job: JobConfig,
  facts: readonly SourceFacts[],
  context: CollectContext,
): CollectedSources {
  // A step that only lets something go, or tells of the thaw, has brought nothing to rest.
  const collector = new Collector(job.quiesce.some(({ before }) => before.length > 0));
  const asked = askedOfFilesystems(job, facts);
  for (const [index, written] of job.sources.entries()) {
    const found = facts[index];
    if (found === undefined) throw new Error(`no facts of the source ${written.path}`);
    const config = withWhatIsAsked(written, found.filesystem, asked);
    const mode = resolveMode(config, found.filesystem, context.detectors, context.layers, context.detection);
    const tree = { path: found.path, realPath: found.realPath, exclude: config.exclude };
    collector.add(config, tree, found.filesystem, mode);
    collectNested(collector, written, found, { ...context, asked });
    if (!config.recursive) continue;
    warnOfUnmounted(collector, found);
    warnOfAbsent(collector, written, found);
  }
  return collector.collected();
}
