import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import type { RunReport } from '../src/report/run-report.js';
import { mustRun } from './bench-world.js';

// As much as takes a bare rsync some seconds: of less, what a process takes to start is a twentieth.
const SMALL_FILES = 20_000;
const LARGE_FILES = 32;
const LARGE_MIB = 64;

/** What `makeTree` makes, for people. */
export const COPY_TREE = `${SMALL_FILES} small files and ${(LARGE_FILES * LARGE_MIB) / 1024} GiB`;

/** For a filesystem that has the tree. */
export const COPY_TREE_ROOM = { sizeMiB: 3584 };

/** Makes what is to be copied: small files that a program compresses well, and large ones that it cannot. */
export async function makeTree(tree: string): Promise<void> {
  for (let index = 0; index < SMALL_FILES; index += 1) {
    const directory = `${tree}/small/${index % 50}`;
    if (index < 50) await mkdir(directory, { recursive: true });
    await writeFile(`${directory}/${index}`, `file ${index}\n`.repeat(200));
  }
  for (let index = 0; index < LARGE_FILES; index += 1) {
    const into = `of=${tree}/large-${index}`;
    await mustRun(['dd', 'if=/dev/urandom', into, 'bs=1M', `count=${LARGE_MIB}`, 'status=none']);
  }
}

/** Runs `use` on a snapshot of the filesystem in `image`, as a run makes one: a clone that nobody has read yet. */
export async function onSnapshot(image: string, use: (mountpoint: string) => Promise<void>): Promise<void> {
  const clone = `${image}.clone`;
  const mountpoint = `${image}.mnt`;
  await mustRun(['cp', '--reflink=always', image, clone]);
  await mkdir(mountpoint);
  try {
    await mustRun(['mount', '-o', 'loop,ro,noload', clone, mountpoint]);
    await use(mountpoint);
  } finally {
    await mustRun(['umount', mountpoint]);
    await rmdir(mountpoint);
    await rm(clone);
  }
}

/** How long the copying of a run to its one target took, from what it printed with `--json`: all of the step. */
export function copyStepMs(stdout: string): number {
  // What `durationMs` of a copy leaves out is the sync and the manifest.
  const { steps } = JSON.parse(stdout) as RunReport;
  return steps.find(({ step }) => step.startsWith('copy to '))?.durationMs ?? Number.NaN;
}
