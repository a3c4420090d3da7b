import type { Consistency, FreezeMode, ProviderName } from '../snapshots/provider.js';
import type { Finding } from './finding.js';

/** One device under a filesystem. */
export interface StackEntry {
  /** `/dev/loop0` */
  device: string;
  majorMinor: string;
  /** `loop`, `lvm`, `crypt`, `multipath`, `partition`, `device-mapper`, `raid`, `zvol`, or `disk`. */
  type: string;
  /** The image file of a loop device, else null. */
  image: string | null;
}

/** One filesystem, and what a run would do with it. Null is what could not be found out, or cannot be done. */
export interface MountpointReport {
  mountpoint: string;
  /** The job that it is a source of; null for one that was named or found. */
  job: string | null;
  device: string | null;
  fstype: string | null;
  /** The topmost first. */
  stack: readonly StackEntry[];
  provider: ProviderName | 'none' | null;
  freezeMode: FreezeMode | null;
  freezeModeReason: string | null;
  consistency: Consistency | null;
  findings: readonly Finding[];
}

/** What `doctor --json` prints. */
export interface DoctorReport {
  version: 1;
  /** Of the host, and of the configured jobs as a whole. */
  findings: readonly Finding[];
  mountpoints: readonly MountpointReport[];
}
