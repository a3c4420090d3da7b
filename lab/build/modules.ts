import { cp, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { cached } from '../cache.js';
import { must } from '../process.js';
import { makeImage } from './image.js';
import type { BuiltKernel } from './kernel.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';
const SIZE_MIB = 512;

/** The image of a kernel's modules, with those of the directory `extra` among them if given. */
export async function buildModules(built: BuiltKernel, extra?: string): Promise<string> {
  const { release } = built.kernel;
  const directory = await cached({
    kind: `modules-${release}${extra === undefined ? '' : '-zfs'}`,
    inputs: [STEPS, built.modules, extra ?? ''],
    build: async (result) => {
      const tree = path.join(result, 'lib/modules');
      await mkdir(tree, { recursive: true });
      await must(['cp', '-a', path.join(built.modules, release), tree]);
      if (extra !== undefined) {
        await cp(extra, path.join(tree, release, 'updates'), { recursive: true });
        await must(['depmod', '-b', result, release]);
      }
      await makeImage(path.join(result, 'image'), { directory: tree, sizeMiB: SIZE_MIB });
      await rm(path.join(result, 'lib'), { recursive: true });
    },
  });
  return path.join(directory, 'image');
}
