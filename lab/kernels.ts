import type { ArchivePackage, LabApt } from './apt.js';
import type { Guest, KernelBehaviour } from './guests.js';

/** A kernel that the archive has. */
export interface Kernel {
  /** As `uname -r` says it. */
  release: string;
  /** Upstream's version, e.g. `6.12.107`. */
  version: string;
  /** The package that names it. */
  image: ArchivePackage;
}

const IMAGE_PACKAGE = /^linux-image-(\d.*-cloud-amd64)$/;

/** Sorts like upstream's version numbers: negative when `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * What the kernels of that version are expected to do, undefined where nothing was measured. It only decides which
 * kernel is tried first: what a guest is said to do was seen in it.
 */
export function expectedBehaviour(version: string): KernelBehaviour | undefined {
  const from = (first: string): boolean => compareVersions(version, first) >= 0;
  if (!from('6.8')) return 'refuses';
  if (!from('6.12.111')) return 'leaks';
  if (!from('6.13')) return 'nests';
  if (!from('6.18.16')) return 'leaks';
  return from('7.2.12') ? 'nests' : undefined;
}

/** The signed cloud kernels of a release that a guest may have, the newest first. */
export async function availableKernels(apt: LabApt, guest: Guest): Promise<Kernel[]> {
  const names = (await apt.names('linux-image-')).filter((name) => IMAGE_PACKAGE.test(name));
  const kernels: Kernel[] = [];
  for (const image of await apt.candidates(names)) {
    const release = IMAGE_PACKAGE.exec(image.name)?.[1];
    const version = /^[\d.]+/.exec(image.version)?.[0];
    if (release === undefined || version === undefined || !guest.kernelVersions.test(version)) continue;
    kernels.push({ release, version, image });
  }
  return kernels.toSorted((a, b) => compareVersions(b.version, a.version));
}

/**
 * The kernels in the order in which they are to be tried for a behaviour: the newest of those expected to show it,
 * then the newest of which nothing is known.
 */
export function kernelsToTry(kernels: readonly Kernel[], behaviour: KernelBehaviour): Kernel[] {
  const expected = (wanted: KernelBehaviour | undefined): Kernel[] =>
    kernels.filter((kernel) => expectedBehaviour(kernel.version) === wanted);
  return [...expected(behaviour), ...expected(undefined)];
}
