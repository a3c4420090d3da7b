import type { CopyDigests } from '../copy-digests.js';
import type { Consistency } from '../../snapshots/provider.js';

export const CONSISTENCIES = [
  'application',
  'filesystem',
  'crash',
  'none',
] as const satisfies readonly Consistency[];

/** A backup as its repository tells of it, whichever host made it. */
export interface FoundBackup {
  job: string;
  backupId: string;
  /** The host that made it, as the engine noted it; empty where it did not. */
  host: string;
  /** When the engine's program began or ended it: RFC 3339, UTC. */
  completedAt: string;
  /** Paths on the live system. */
  sources: readonly string[];
  /** Undefined: it was not noted. */
  consistency: Consistency | undefined;
  /** Undefined: the repository does not tell without reading it through. */
  files: number | undefined;
  bytes: number | undefined;
  /** What could not be read when it was made; absent: it was not noted. */
  unreadable?: readonly string[];
  /** Of a list that `CopyEngine.fetchDigests` brings. */
  digests?: CopyDigests | undefined;
  /** Why less is known of it than of others: sentences for people. */
  doubts?: readonly string[];
  /** Writes into a data directory what the engine needs to find the backup again. */
  writeReference: (dataDirectory: string) => Promise<void>;
}
