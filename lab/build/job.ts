import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from '../process.js';
import { makeImage } from './image.js';

const SIZE_MIB = 1024;

/** What the guest is to do. */
export interface Job {
  /** Run in the checkout, with Node on the PATH. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** A directory that it finds as `.lab/chaos`: lab/build/chaos-tools.ts. */
  chaosTools?: string;
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * Makes `image`: the checkout as it is now, built or not, without `node_modules`; and in `.lab` what is to be run in
 * it, and what was compiled for that. `directory` is a place for the copy, removed again.
 */
export async function makeJobImage(
  image: string,
  job: Job,
  options: { checkout: string; directory: string },
): Promise<void> {
  const { checkout, directory } = options;
  const exclude = ['.git', 'node_modules', 'coverage'].map((name) => `--exclude=/${name}`);
  await must(['rsync', '-r', '-l', '-p', '-t', ...exclude, `${checkout}/`, `${directory}/`]);
  await mkdir(path.join(directory, 'node_modules'));
  await mkdir(path.join(directory, '.lab'));
  if (job.chaosTools !== undefined)
    await must(['rsync', '-r', '-l', '-p', '-t', `${job.chaosTools}/`, `${directory}/.lab/chaos/`]);
  const exports = Object.entries(job.env).map(([name, value]) => `export ${name}=${shellQuote(value)}\n`);
  await writeFile(path.join(directory, '.lab/environment'), exports.join(''));
  await writeFile(path.join(directory, '.lab/argv'), job.argv.map((argument) => `${argument}\0`).join(''));
  await makeImage(image, { directory, sizeMiB: SIZE_MIB });
  await rm(directory, { recursive: true });
}
