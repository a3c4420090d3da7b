/** A backup of one job in one target, as the policy sees it. */
export interface JudgedBackup {
  backupId: string;
  /** When it was begun. */
  time: Date;
  state: 'complete' | 'incomplete' | 'damaged';
  /**
   * What a complete one is worth. `good`: no warning, nothing missing. `warned`: all of it is there. `poor`: files are
   * missing in it, or a verify that it failed stands. Of itself, whatever it needs; of the others it says nothing.
   */
  quality: 'good' | 'warned' | 'poor';
  /** Why it is not good: a clause without its subject, `failed its full verify of 2026-11-24`. */
  flaw?: string | undefined;
  /** Ids of the backups that it cannot be restored without; `unknown`: its manifest, which tells, cannot be read. */
  needs: readonly string[] | 'unknown';
  /** Who made it; absent: nobody knows, as of those of earlier versions. */
  host?: { name: string; isThis: boolean } | undefined;
  /** Where it is mounted now. */
  mountedAt: readonly string[];
}

/** What it is known to need. */
export function needsOf({ needs }: Pick<JudgedBackup, 'needs'>): readonly string[] {
  return needs === 'unknown' ? [] : needs;
}
