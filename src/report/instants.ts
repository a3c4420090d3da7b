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
