import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { LabApt } from '../apt.js';
import { cached } from '../cache.js';
import type { Kernel } from '../kernels.js';
import { must } from '../process.js';
import { makeInitramfs } from './initramfs.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';

/** A kernel as the lab boots it. */
export interface BuiltKernel {
  kernel: Kernel;
  vmlinuz: string;
  initramfs: string;
  /** The directory that holds `RELEASE`, the tree of its modules. They are not compressed: the guest is slow. */
  modules: string;
}

/** The packages that make up a kernel. Up to 6.18 it is one, then there are base, binary and modules beside it. */
async function packagesOf(apt: LabApt, kernel: Kernel): Promise<string[]> {
  const dependencies = await apt.dependencies(kernel.image.name);
  return [kernel.image.name, ...dependencies.filter((name) => name.endsWith(`-${kernel.release}`))];
}

/** Renames the first of `candidates` that exists. Throws when none does. */
async function renameFirst(candidates: readonly string[], to: string): Promise<void> {
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found === undefined) throw new Error(`there is none of ${candidates.join(', ')}`);
  await rename(found, to);
}

/** Unpacks the kernel, without installing it anywhere. */
export async function buildKernel(apt: LabApt, kernel: Kernel): Promise<BuiltKernel> {
  const init = path.join(import.meta.dirname, '../guest/initramfs-init');
  const directory = await cached({
    kind: `kernel-${kernel.release}`,
    inputs: [STEPS, kernel.image.version, await readFile(init, 'utf8')],
    build: async (result) => {
      const unpacked = path.join(result, 'unpacked');
      await mkdir(unpacked);
      const names = await packagesOf(apt, kernel);
      await apt.download(await apt.candidates(names), unpacked);
      for (const name of await readdir(unpacked)) {
        await must(['dpkg', '-x', path.join(unpacked, name), unpacked]);
      }
      const modules = path.join(result, 'lib/modules', kernel.release);
      await mkdir(path.dirname(modules), { recursive: true });
      // Where /lib is spelt, and where the kernel itself lies, depends on its age.
      await renameFirst(
        ['usr/lib', 'lib'].map((lib) => path.join(unpacked, lib, 'modules', kernel.release)),
        modules,
      );
      await renameFirst(
        [path.join(unpacked, `boot/vmlinuz-${kernel.release}`), path.join(modules, 'vmlinuz')],
        path.join(result, 'vmlinuz'),
      );
      await rm(unpacked, { recursive: true });
      for (const [suffix, program] of [
        ['xz', 'xz'],
        ['zst', 'zstd'],
      ] as const) {
        await must(['find', modules, '-name', `*.ko.${suffix}`, '-exec', program, '-q', '-d', '{}', '+']);
      }
      await must(['find', modules, '-name', '*.ko.zst', '-delete']);
      await must(['depmod', '-b', result, kernel.release]);
      await makeInitramfs(path.join(result, 'initramfs'), { init, modules });
    },
  });
  return {
    kernel,
    vmlinuz: path.join(directory, 'vmlinuz'),
    initramfs: path.join(directory, 'initramfs'),
    modules: path.join(directory, 'lib/modules'),
  };
}
