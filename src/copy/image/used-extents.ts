import type { runCommand } from '../../system/run-command.js';
import type { Extent } from './extents.js';

const TIMEOUT_MS = 600_000;

/**
 * The unused blocks of an ext2, 3 or 4 whose journal is empty, in bytes; undefined for what is none, or cannot tell.
 * From dumpe2fs(8), which reads the bitmaps: a line of numbers and ranges for each group.
 */
export async function readFreeExtents(device: string, run: typeof runCommand): Promise<Extent[] | undefined> {
  const free: Extent[] = [];
  let blockBytes = 0;
  let isDirty = false;
  const result = await run(['dumpe2fs', '--', device], {
    timeoutMs: TIMEOUT_MS,
    onStdoutLine: (line) => {
      const size = /^Block size:\s+(\d+)/.exec(line)?.[1];
      if (size !== undefined) blockBytes = Number(size);
      if (/^Filesystem features:.*\bneeds_recovery\b/.test(line)) isDirty = true;
      const blocks = /^\s+Free blocks:\s*(.*)$/.exec(line)?.[1];
      for (const [, first = '', last = first] of blocks?.matchAll(/(\d+)(?:-(\d+))?/g) ?? []) {
        free.push({
          offset: Number(first) * blockBytes,
          length: (Number(last) - Number(first) + 1) * blockBytes,
        });
      }
    },
  });
  return result.exitCode !== 0 || blockBytes === 0 || isDirty ? undefined : free;
}
