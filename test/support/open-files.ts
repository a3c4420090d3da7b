import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Closing is a matter of milliseconds; this is for a machine as slow and busy as may be. */
const PATIENCE_MS = 30_000;

/** The descriptors of this process, each as its number and what it is open on. */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // closed meanwhile, as that of this very look is
    }
  });
}

/**
 * Call it before what may leave something open. The function that it returns resolves once all that was opened since is
 * closed again, and rejects naming what is not. A number of descriptors would not do, and nor would one look: the test
 * runner opens and closes files of its own in this process, whenever it has to.
 */
export function watchOpenFiles(): () => Promise<void> {
  const before = new Set(openFiles());
  const openedSince = (): string[] => openFiles().filter((file) => !before.has(file));
  return async () => {
    for (const giveUpAt = Date.now() + PATIENCE_MS; openedSince().length > 0; await sleep(20)) {
      if (Date.now() > giveUpAt) throw new Error(`still open: ${openedSince().join(', ')}`);
    }
  };
}
