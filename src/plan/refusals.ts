import path from 'node:path';
import type { JobConfig } from '../config/types.js';
import { atPlace } from '../config/written-at.js';
import { FsbackupError } from '../errors.js';
import { isWithin } from '../system/mountinfo.js';
import { translateForBorg } from '../copy/borg/borg-excludes.js';
import { translateExclude } from '../copy/restic/restic-excludes.js';
import { sendableBy, type EngineName } from '../engine-names.js';
import { localRepository, targetName } from '../backup-target.js';
import { whyUnlimitable } from '../copy/target/unlimitable.js';
import { isExcluded } from './excludes.js';
import type { HostFacts } from './facts.js';
import { reachedByWrites } from './layers.js';
import type { PlannedSource } from './plan.js';

/** Throws `usage` when a target lies in a tree that is backed up, so that each backup would hold the ones before. */
export function refuseTargetInSource(job: JobConfig, facts: HostFacts): void {
  for (const target of facts.targets) {
    for (const [index, source] of facts.sources.entries()) {
      if (!isWithin(target.realPath, source.realPath)) continue;
      const exclude = job.sources[index]?.exclude ?? [];
      const relative = path.relative(source.realPath, target.realPath);
      if (relative !== '' && isExcluded(exclude, relative)) continue;
      // On a filesystem of its own it is never snapshotted with the source: see collectNested.
      if (target.mountpoint !== source.realPath && isWithin(target.mountpoint, source.realPath)) continue;
      const error = new FsbackupError(
        'usage',
        `the target ${target.path} lies inside the source ${source.path}`,
        { hint: 'Choose a target elsewhere, best on another disk, or exclude it from the source.' },
      );
      const configured = job.targets.find((one) => (localRepository(one) ?? one.path) === target.path);
      throw configured === undefined ? error : atPlace(configured, error);
    }
  }
}

/** Throws `usage` for a target whose engine sends whole snapshots, and not those that a source has. */
export function refuseUnsendable(job: JobConfig, sources: readonly PlannedSource[]): void {
  for (const target of job.targets) {
    const able = sendableBy(target.engine);
    if (able === undefined) continue;
    const source = sources.find(
      ({ provider, filesystem }) =>
        provider === 'none' ||
        !able.includes(provider) ||
        // A dataset of ZFS, for one, is on no device that has an image.
        (target.engine === 'image' && filesystem.stack === undefined),
    );
    if (source === undefined) continue;
    const how =
      source.provider === 'none'
        ? 'has no snapshot'
        : able.includes(source.provider)
          ? 'lies on no block device'
          : `is snapshotted by ${source.provider}`;
    const error = new FsbackupError(
      'usage',
      `${target.engine} sends snapshots of ${able.join(' or ')}, and ${source.mountpoint} ${how}`,
      {
        hint: 'Choose another engine for this target (rsync, tar, restic), or give that source a job of its own.',
      },
    );
    throw atPlace(target, error);
  }
}

/** What each engine with patterns of its own makes of one; it throws where it has nothing for that. */
const TRANSLATIONS: Readonly<Partial<Record<EngineName, (pattern: string) => unknown>>> = {
  borg: (pattern) => translateForBorg(pattern, ''),
  restic: (pattern) => translateExclude(pattern, ''),
};

/** Throws `usage` for a pattern that the engine of a target has nothing for: the copy would find that out each time. */
export function refuseUntranslatable({ sources, targets }: JobConfig): void {
  for (const target of targets) {
    const translate = TRANSLATIONS[target.engine];
    if (translate === undefined) continue;
    try {
      for (const pattern of sources.flatMap(({ exclude }) => exclude)) translate(pattern);
    } catch (error) {
      throw error instanceof FsbackupError ? atPlace(target, error) : error;
    }
  }
}

/** Throws `usage` for a limit that the engine of its target cannot hold. */
export function refuseUnlimitable({ targets }: Pick<JobConfig, 'targets'>): void {
  for (const target of targets) {
    if (target.limitBytesPerSecond === undefined) continue;
    const why = whyUnlimitable(target);
    if (why === undefined) continue;
    const message = `the target ${targetName(target)} cannot have a limit: ${why.message}`;
    throw atPlace(target, new FsbackupError('usage', message, { hint: why.hint }));
  }
}

/** A filesystem that is about to be frozen. */
interface Frozen {
  mountpoint: string;
  majorMinor: string;
}

/**
 * What fsbackup itself needs must not be frozen: its own write would block until the dead-man fires.
 * Throws `notFrozen`; with `force` returns what it would have said, as warnings.
 */
export function refuseFrozenInUse(frozen: readonly Frozen[], facts: HostFacts, force: boolean): string[] {
  const needed = [
    ...facts.inUse,
    ...facts.targets.map((target) => ({ what: `the target ${target.path}`, majorMinor: target.majorMinor })),
  ];
  const warnings: string[] = [];
  for (const { what, majorMinor } of needed) {
    const reached = reachedByWrites([majorMinor], facts.layers);
    for (const one of frozen) {
      if (!reached.has(one.majorMinor)) continue;
      const where = one.majorMinor === majorMinor ? 'is on' : 'lies over';
      const message = `${what} ${where} ${one.mountpoint}, which would be frozen`;
      if (!force) {
        throw new FsbackupError('notFrozen', `${message}: fsbackup could block itself`, {
          hint: 'Move it to another filesystem, or run with --force if nothing writes there in the meantime.',
        });
      }
      warnings.push(message);
    }
  }
  return warnings;
}
