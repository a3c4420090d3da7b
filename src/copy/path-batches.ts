/** Linux takes some 2 MiB of arguments and environment together, and a program looks at each for every file. */
const MAX_BYTES = 64 * 1024;

/** Paths in as many groups as command lines can take, in their order. No paths are one group: all that there is. */
export function batchesOf(paths: readonly string[], maxBytes = MAX_BYTES): string[][] {
  const batches: string[][] = [[]];
  let bytes = 0;
  for (const one of paths) {
    const more = Buffer.byteLength(one) + 1;
    if (bytes > 0 && bytes + more > maxBytes) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(one);
    bytes += more;
  }
  return batches;
}
