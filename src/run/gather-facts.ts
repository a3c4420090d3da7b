import { stat } from 'node:fs/promises';
import path from 'node:path';
import { localRepository } from '../backup-target.js';
import type { JobConfig, SourceConfig, TargetConfig } from '../config/types.js';
import { atPlace } from '../config/written-at.js';
import { messageOf } from '../errors.js';
import { beginsWithOwnPath } from '../plan/excludes.js';
import type { HostFacts, NestedTree, SourceFacts, TargetFacts } from '../plan/facts.js';
import type { FilesystemFacts } from '../snapshots/provider.js';
import { exists } from '../system/exists.js';
import { readFilesystemFacts } from '../system/filesystem-facts.js';
import { readFilesystemsInUse } from '../system/in-use.js';
import { readLogicalVolumes, type VolumesRead } from '../system/lvm.js';
import { readMounts, type Mount } from '../system/mountinfo.js';
import { readNestedFreeze, type NestedFreeze } from '../system/nested-freeze.js';
import { inInitialPidNamespace } from '../system/pid-namespace.js';
import { unmountedBelow } from '../system/unmounted.js';
import { unmountedDatasets } from '../system/zfs-facts.js';
import { dependsOnNesting } from './depends-on-nesting.js';
import { readDoubts } from './doubtful-parent.js';
import { findNested } from './find-nested.js';
import { requireSameMounts } from './source-mounts.js';

/** Remembers every filesystem that was looked at: what lies on what is told from them. */
class FactsReader {
  readonly #seen = new Map<string, FilesystemFacts>();
  #volumes: Promise<VolumesRead> | undefined;

  async read(directory: string): Promise<{ path: string; filesystem: FilesystemFacts }> {
    // Asked once: its answer is that of the whole host.
    const readVolumes = (): Promise<VolumesRead> => (this.#volumes ??= readLogicalVolumes());
    const located = await readFilesystemFacts(directory, { readVolumes, readZfs: true });
    this.#seen.set(located.filesystem.mount.majorMinor, located.filesystem);
    return located;
  }

  layers(): Record<string, string[]> {
    const layers: Record<string, string[]> = {};
    for (const [majorMinor, { below = [] }] of this.#seen) layers[majorMinor] = [...below];
    return layers;
  }
}

async function readNested(
  tree: Pick<NestedTree, 'kind' | 'path' | 'fstype'>,
  reader: FactsReader,
): Promise<NestedTree> {
  try {
    return { ...tree, filesystem: (await reader.read(tree.path)).filesystem };
  } catch (error) {
    return { ...tree, problem: messageOf(error) };
  }
}

async function readSource(
  job: string,
  source: SourceConfig,
  mounts: readonly Mount[],
  reader: FactsReader,
): Promise<SourceFacts> {
  const located = await reader.read(source.path);
  const { path: directory, filesystem } = located;
  await requireSameMounts(job, { path: source.path, realPath: directory, filesystem });
  const found = await findNested(source, { path: directory, mount: filesystem.mount }, mounts);
  const nested: NestedTree[] = [];
  // Only what is to be copied is touched: a dead server below a source is no matter of ours otherwise.
  for (const tree of found) nested.push(source.recursive ? await readNested(tree, reader) : tree);
  const { zfs } = filesystem;
  const unmounted = source.recursive && zfs !== undefined ? await unmountedDatasets(zfs) : [];
  const absent = source.recursive ? await unmountedBelow(directory, mounts) : [];
  const isRepeated = source.exclude.some((pattern) => beginsWithOwnPath(pattern, source.path));
  // Where nobody can tell, nobody is warned.
  const hasOwnPathBelow = isRepeated && (await exists(path.join(directory, source.path)).catch(() => true));
  return { path: source.path, realPath: directory, filesystem, nested, unmounted, absent, hasOwnPathBelow };
}

/** The first directory on the way up that is there: what is yet to be made will lie in it. */
async function existingAbove(directory: string): Promise<string> {
  for (let at = directory; ; at = path.dirname(at)) {
    const isThere = await stat(at).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (isThere || at === '/') return at;
  }
}

async function readTarget(target: TargetConfig, reader: FactsReader): Promise<TargetFacts[]> {
  const local = target.repository === undefined ? target.path : localRepository(target);
  if (local === undefined) return [];
  const above = target.repository === undefined ? local : await existingAbove(local);
  const { path: found, filesystem } = await reader.read(above);
  const { majorMinor, mountpoint } = filesystem.mount;
  return [{ path: local, realPath: path.join(found, path.relative(above, local)), majorMinor, mountpoint }];
}

/** Rejects as `reading` does, and says where `configured` was written. */
async function sayingWhere<T>(configured: SourceConfig | TargetConfig, reading: Promise<T>): Promise<T> {
  return await reading.catch((error: unknown) => {
    throw atPlace(configured, error);
  });
}

async function nestedFreezeFor(job: JobConfig, sources: readonly SourceFacts[]): Promise<NestedFreeze> {
  const filesystems = sources.flatMap(({ filesystem, nested }) => [
    filesystem,
    ...nested.flatMap((tree) => tree.filesystem ?? []),
  ]);
  return dependsOnNesting(job, filesystems) ? (await readNestedFreeze()).behaviour : 'unknown';
}

/**
 * Looks at all that planning a job needs to know of this host. Reads only.
 * Rejects with `usage` for a source or target that is missing or not mounted (of a source, also by what the last backup was made of), `notFrozen` for a filesystem that does
 * not answer.
 */
export async function gatherFacts(job: JobConfig): Promise<HostFacts> {
  const reader = new FactsReader();
  const mounts = await readMounts();
  // Each look starts programs, whose time is mostly waiting.
  const [sources, targets, inUse] = await Promise.all([
    Promise.all(
      job.sources.map((source) => sayingWhere(source, readSource(job.name, source, mounts, reader))),
    ),
    Promise.all(job.targets.map((target) => sayingWhere(target, readTarget(target, reader)))),
    readFilesystemsInUse(),
  ]);
  return {
    sources,
    targets: targets.flat(),
    inUse: inUse.map(({ what, majorMinor }) => ({ what, majorMinor })),
    layers: {
      ...Object.fromEntries(inUse.map(({ majorMinor, below }) => [majorMinor, below])),
      ...reader.layers(),
    },
    nestedFreeze: await nestedFreezeFor(job, sources),
    initialPidNamespace: inInitialPidNamespace(),
    doubts: await readDoubts(job),
  };
}
