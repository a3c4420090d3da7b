import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { must } from '../process.js';

/** What the guest needs to see its disks; the other modules come from one of them. */
const MODULES = ['virtio_pci', 'virtio_blk'];

/** The files below `modules` to load for `name` in their order; none when it is built in. */
async function filesToLoad(modules: string, name: string): Promise<string[]> {
  for (const line of (await readFile(path.join(modules, 'modules.dep'), 'utf8')).split('\n')) {
    const [file = '', dependencies = ''] = line.split(': ');
    if (path.basename(file.replace(/:$/, ''), '.ko').replaceAll('-', '_') !== name) continue;
    return [...dependencies.split(' ').filter(Boolean).toReversed(), file.replace(/:$/, '')];
  }
  const builtIn = await readFile(path.join(modules, 'modules.builtin'), 'utf8');
  if (builtIn.split('\n').some((file) => path.basename(file, '.ko').replaceAll('-', '_') === name)) return [];
  throw new Error(`the kernel in ${modules} has no ${name}`);
}

/** Writes an initramfs of busybox, `init`, and the virtio modules out of the tree `modules`. */
export async function makeInitramfs(file: string, options: { init: string; modules: string }): Promise<void> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'fsbackup-initramfs-'));
  try {
    for (const name of ['bin', 'dev', 'proc', 'sys', 'root', 'modules'])
      await mkdir(path.join(directory, name));
    await copyFile(
      (await must(['sh', '-c', 'command -v busybox'])).trim(),
      path.join(directory, 'bin/busybox'),
    );
    await copyFile(options.init, path.join(directory, 'init'));
    await chmod(path.join(directory, 'init'), 0o755);
    const files = new Set<string>();
    for (const name of MODULES) {
      for (const found of await filesToLoad(options.modules, name)) files.add(found);
    }
    const names: string[] = [];
    for (const found of files) {
      names.push(path.basename(found));
      await copyFile(
        path.join(options.modules, found),
        path.join(directory, 'modules', path.basename(found)),
      );
    }
    await writeFile(path.join(directory, 'modules/order'), names.map((name) => `${name}\n`).join(''));
    await must(['sh', '-ec', 'find . | cpio --quiet -o -H newc | gzip -1 >"$0"', file], { cwd: directory });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
