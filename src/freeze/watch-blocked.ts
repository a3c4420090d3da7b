import { blockedIn, type BlockedProcess } from '../system/blocked-programs.js';

/** Between both looks, and from the last one to the cap; of a short hold less. */
const APART_MS = 1000;

/** A watch over what runs while filesystems are frozen. */
export interface BlockedWatch {
  /** Ends it: which programs did not run for a moment up to shortly before the cap, since they waited in the kernel. */
  stop(): Promise<readonly BlockedProcess[]>;
}

/**
 * Looks twice, shortly before a freeze that began just now ends at its cap, which programs of a session wait in the kernel: what
 * writes to what is frozen does, until it is thawed. Once it is, nobody can tell any more.
 */
export function watchBlocked(session: number, maxHoldMs: number, blocked = blockedIn): BlockedWatch {
  const apartMs = Math.min(APART_MS, maxHoldMs / 4);
  const looks: Promise<BlockedProcess[]>[] = [];
  const look = (): void => void looks.push(blocked(session).catch(() => []));
  const timers = [2, 1].map((times) => setTimeout(look, maxHoldMs - times * apartMs).unref());
  return {
    stop: async () => {
      for (const timer of timers) clearTimeout(timer);
      const [first = [], last = []] = await Promise.all(looks);
      return last.filter(({ pid, switches }) =>
        first.some((before) => before.pid === pid && before.switches === switches),
      );
    },
  };
}
