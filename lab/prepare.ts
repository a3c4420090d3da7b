import { chooseAccelerator } from './accelerator.js';
import { LabApt } from './apt.js';
import { buildDeps } from './build/deps.js';
import { buildKernel, type BuiltKernel } from './build/kernel.js';
import { buildModules } from './build/modules.js';
import { buildRootfs } from './build/rootfs.js';
import { buildZfs } from './build/zfs.js';
import { CHECKOUT } from './checkout.js';
import type { Guest, KernelBehaviour } from './guests.js';
import { seenBehaviour } from './kernel-behaviour.js';
import { availableKernels, kernelsToTry, type Kernel } from './kernels.js';
import type { PreparedGuest } from './prepared-guest.js';

/** So many kernels are tried out for one that does what a guest is there for. */
const TRIES = 3;

/** A guest with one of the kernels and without OpenZFS; `behaviour` is what is hoped for. */
async function withKernel(apt: LabApt, guest: Guest, built: BuiltKernel): Promise<PreparedGuest> {
  const images = {
    root: await buildRootfs(apt, guest),
    modules: await buildModules(built),
    deps: await buildDeps(CHECKOUT),
  };
  return {
    guest,
    kernelRelease: built.kernel.release,
    behaviour: guest.behaviour,
    accelerator: await chooseAccelerator(built),
    vmlinuz: built.vmlinuz,
    initramfs: built.initramfs,
    disks: Object.entries(images).map(([serial, file]) => ({ serial, file, throwAway: true })),
    warnings: [],
  };
}

interface Choice {
  prepared: PreparedGuest;
  built: BuiltKernel;
  behaviour: KernelBehaviour;
}

/** The newest kernel that was seen to do what the guest is there for; where none does, the newest of all. */
async function chooseKernel(apt: LabApt, guest: Guest, available: readonly Kernel[]): Promise<Choice> {
  const tryOut = async (kernel: Kernel): Promise<Choice> => {
    const built = await buildKernel(apt, kernel);
    const prepared = await withKernel(apt, guest, built);
    return { prepared, built, behaviour: await seenBehaviour(prepared) };
  };
  for (const kernel of kernelsToTry(available, guest.behaviour).slice(0, TRIES)) {
    const choice = await tryOut(kernel);
    if (choice.behaviour === guest.behaviour) return choice;
  }
  const [newest] = available;
  if (newest === undefined) throw new Error(`The archive has no kernel for the guest ${guest.name}.`);
  return await tryOut(newest);
}

function warningsAbout(guest: Guest, { built, behaviour }: Choice): string[] {
  if (behaviour === guest.behaviour) return [];
  return [
    `WARNING: the archive has no kernel for ${guest.name} that ${guest.behaviour} any more; it has ` +
      `${built.kernel.version}, which ${behaviour}. What is written for one that ${guest.behaviour} is NOT tested.`,
  ];
}

/** Builds what is not in the cache. Says so when it passes over a newer kernel. */
export async function prepareGuest(guest: Guest): Promise<PreparedGuest> {
  const apt = await LabApt.open(guest.release);
  const available = await availableKernels(apt, guest);
  const choice = await chooseKernel(apt, guest, available);
  const { built, behaviour, prepared } = choice;
  const newest = available[0]?.version;
  if (newest !== built.kernel.version) {
    console.error(
      `lab: ${guest.name} has ${built.kernel.version}, which ${behaviour}; the archive's newest is ${newest ?? 'none'}`,
    );
  }
  const warnings = warningsAbout(guest, choice);
  for (const warning of warnings) console.error(`lab: ${warning}`);
  if (!guest.zfs) return { ...prepared, behaviour, warnings };
  const modules = await buildModules(built, await buildZfs(apt, built.kernel));
  const disks = prepared.disks.map((disk) => (disk.serial === 'modules' ? { ...disk, file: modules } : disk));
  return { ...prepared, behaviour, disks, warnings };
}
