import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { LabApt } from '../apt.js';
import { cached } from '../cache.js';
import type { Kernel } from '../kernels.js';
import { must } from '../process.js';
import { debootstrap } from './rootfs.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';

/**
 * OpenZFS for a kernel, in a system made for nothing else: the directory of its modules. Some six minutes. The modules
 * are of the same version as the user space that the release has.
 */
export async function buildZfs(apt: LabApt, kernel: Kernel): Promise<string> {
  const packages = ['zfs-dkms', `linux-headers-${kernel.release}`];
  const versions = await apt.candidates(packages);
  const directory = await cached({
    kind: `zfs-${kernel.release}`,
    inputs: [STEPS, ...versions.map(({ name, version }) => `${name}=${version}`)],
    build: async (result) => {
      const root = path.join(result, 'root');
      // The installation builds them by itself, or leaves that to us, by the version of dkms.
      const build = `chroot "$1" sh -ec '
        module=$(dkms status -m zfs | head -n 1 | sed "s/[,:].*//")
        dkms install --force "$module" -k ${kernel.release} || {
          tail -n 50 /var/lib/dkms/zfs/*/build/make.log
          exit 1
        }'`;
      await debootstrap(apt, root, { packages, hooks: [build] });
      const modules = path.join(result, 'modules');
      await cp(path.join(root, 'lib/modules', kernel.release, 'updates/dkms'), modules, { recursive: true });
      await rm(root, { recursive: true });
      await must(['find', modules, '-name', '*.ko.xz', '-exec', 'xz', '-q', '-d', '{}', '+']);
    },
  });
  return path.join(directory, 'modules');
}
