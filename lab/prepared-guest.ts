import type { Guest, KernelBehaviour } from './guests.js';
import type { Accelerator, Disk } from './qemu.js';

/** A guest with all that it takes to boot it. */
export interface PreparedGuest {
  guest: Guest;
  /** As `uname -r` says it. */
  kernelRelease: string;
  /** What its kernel was seen to do. */
  behaviour: KernelBehaviour;
  accelerator: Accelerator;
  vmlinuz: string;
  initramfs: string;
  /** The disks that all runs share. */
  disks: readonly Disk[];
  /** What whoever reads the results should know: a guest that is not what it is there for. */
  warnings: readonly string[];
}
