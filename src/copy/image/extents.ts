/** A piece of a device, in bytes. */
export interface Extent {
  offset: number;
  length: number;
}

/** In order, with those that touch or overlap made one, cut off at `sizeBytes`. Pure. */
export function normaliseExtents(extents: readonly Extent[], sizeBytes: number): Extent[] {
  const merged: Extent[] = [];
  for (const { offset, length } of extents.toSorted((a, b) => a.offset - b.offset)) {
    const end = Math.min(offset + length, sizeBytes);
    if (end <= offset) continue;
    const last = merged.at(-1);
    if (last !== undefined && offset <= last.offset + last.length)
      last.length = Math.max(last.length, end - last.offset);
    else merged.push({ offset, length: end - offset });
  }
  return merged;
}

/** What of the device none of these cover. They are normalised. Pure. */
export function complementOf(extents: readonly Extent[], sizeBytes: number): Extent[] {
  const gaps: Extent[] = [];
  let at = 0;
  for (const { offset, length } of [...extents, { offset: sizeBytes, length: 0 }]) {
    if (offset > at) gaps.push({ offset: at, length: offset - at });
    at = offset + length;
  }
  return gaps;
}

/** What both cover. Both are normalised. Pure. */
export function intersectionOf(a: readonly Extent[], b: readonly Extent[]): Extent[] {
  const common: Extent[] = [];
  for (let [i, j] = [0, 0]; ;) {
    const [left, right] = [a[i], b[j]];
    if (left === undefined || right === undefined) return common;
    const [leftEnd, rightEnd] = [left.offset + left.length, right.offset + right.length];
    const offset = Math.max(left.offset, right.offset);
    const end = Math.min(leftEnd, rightEnd);
    if (end > offset) common.push({ offset, length: end - offset });
    if (leftEnd < rightEnd) i += 1;
    else j += 1;
  }
}

/** In pieces of at most `chunkBytes`, at multiples of that where one lies in it. Pure. */
export function* chunksOf(extents: Iterable<Extent>, chunkBytes: number): Generator<Extent> {
  for (const extent of extents) {
    const end = extent.offset + extent.length;
    for (let { offset } = extent; offset < end;) {
      const length = Math.min(chunkBytes - (offset % chunkBytes), end - offset);
      yield { offset, length };
      offset += length;
    }
  }
}
