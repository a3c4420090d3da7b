import path from 'node:path';
import { LabApt } from './apt.js';
import { chooseAccelerator } from './accelerator.js';
import { buildDeps } from './build/deps.js';
import { buildKernel } from './build/kernel.js';
import { buildModules } from './build/modules.js';
import { buildRootfs } from './build/rootfs.js';
import type { Guest, KernelBehaviour } from './guests.js';
import { availableKernels, kernelsToTry } from './kernels.js';
import type { Accelerator, Disk } from './qemu.js';

export const CHECKOUT = path.resolve(import.meta.dirname, '..');

/** A guest with all that it takes to boot it. */
export interface PreparedGuest {
  guest: Guest;
  kernelRelease: string;
  behaviour: KernelBehaviour;
  accelerator: Accelerator;
  vmlinuz: string;
  initramfs: string;
  /** The disks that all runs share. */
  disks: readonly Disk[];
}

/** Builds what is not in the cache. */
export async function prepareGuest(guest: Guest): Promise<PreparedGuest> {
  const apt = await LabApt.open(guest.release);
  const available = await availableKernels(apt, guest);
  const [kernel] = kernelsToTry(available, guest.behaviour);
  if (kernel === undefined) throw new Error(`the archive has no kernel for ${guest.name}`);
  const built = await buildKernel(apt, kernel);
  const accelerator = await chooseAccelerator(built);
  const images = {
    root: await buildRootfs(apt, guest),
    modules: await buildModules(built),
    deps: await buildDeps(CHECKOUT),
  };
  return {
    guest,
    kernelRelease: kernel.release,
    behaviour: guest.behaviour,
    accelerator,
    vmlinuz: built.vmlinuz,
    initramfs: built.initramfs,
    disks: Object.entries(images).map(([serial, file]) => ({ serial, file, throwAway: true })),
  };
}
