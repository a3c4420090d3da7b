import type { SourceReport } from './run-report.js';

/** A source, and the number of the instant that it is at: `SourceReport.instant`. */
export interface AtInstant {
  mountpoint: string;
  instant: number | null;
}

/** Where a source is mounted, all places of it. Pure. */
export function describeMounts({
  mountpoint,
  otherMountpoints = [],
}: {
  mountpoint: string;
  otherMountpoints?: readonly string[];
}): string {
  return [mountpoint, ...otherMountpoints].join(' and ');
}

/** Whether all of a job is at one instant: a live tree, and a snapshot that is not there, are at none. Pure. */
export function areAtOneInstant(sources: readonly AtInstant[]): boolean {
  const [first] = sources;
  return (
    first !== undefined && first.instant !== null && sources.every(({ instant }) => instant === first.instant)
  );
}

/** Which sources are at one instant with each other: `/a with /b; /c; /d at no instant`. Pure. */
export function describeInstants(sources: readonly AtInstant[]): string {
  const groups = new Map<number | null, string[]>();
  for (const { mountpoint, instant } of sources)
    groups.set(instant, [...(groups.get(instant) ?? []), mountpoint]);
  const none = groups.get(null) ?? [];
  groups.delete(null);
  const parts = [...groups.values()].map((group) => group.join(' with '));
  return [...parts, ...none.map((mountpoint) => `${mountpoint} at no instant`)].join('; ');
}

/** A source, and when its snapshot was begun, RFC 3339; null: a live tree, or nobody knows. */
type TakenAt = Pick<SourceReport, 'mountpoint' | 'snapshotStartedAt'>;

/** When the first snapshot of several was begun; null where there is none. Pure. */
export function firstTaken(sources: readonly TakenAt[]): string | null {
  const times = sources.flatMap(({ snapshotStartedAt }) => snapshotStartedAt ?? []);
  return times.toSorted()[0] ?? null;
}

/** Of which instant the data is: one time where all were taken in the same millisecond, else `/a TIME, /b TIME`; undefined: of none that is known. Pure. */
export function describeTaken(sources: readonly TakenAt[]): string | undefined {
  const taken = sources.filter(({ snapshotStartedAt }) => snapshotStartedAt !== null);
  const times = new Set(taken.map(({ snapshotStartedAt }) => snapshotStartedAt ?? ''));
  const [only] = times;
  if (only === undefined || (times.size === 1 && taken.length === sources.length)) return only;
  return taken.map((one) => `${one.mountpoint} ${one.snapshotStartedAt ?? ''}`).join(', ');
}
