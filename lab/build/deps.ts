import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { cached } from '../cache.js';
import { must } from '../process.js';
import { makeImage } from './image.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';
const SIZE_MIB = 1024;

/** The image of what changes seldom: `node_modules`, and the Node that the lab itself runs on as `bin/node`. */
export async function buildDeps(checkout: string): Promise<string> {
  // npm writes it at the end of an installation: what is there, not what should be.
  const installed = path.join(checkout, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) throw new Error('node_modules is not installed; run scripts/setup.');
  const node = await stat(process.execPath);
  const directory = await cached({
    kind: 'deps',
    inputs: [STEPS, await readFile(installed, 'utf8'), process.version, String(node.size)],
    build: async (result) => {
      const root = path.join(result, 'root');
      await mkdir(path.join(root, 'bin'), { recursive: true });
      await copyFile(process.execPath, path.join(root, 'bin/node'));
      await must(['cp', '-R', '--preserve=mode,links', path.join(checkout, 'node_modules'), root]);
      await makeImage(path.join(result, 'image'), { directory: root, sizeMiB: SIZE_MIB });
      await rm(root, { recursive: true });
    },
  });
  return path.join(directory, 'image');
}
