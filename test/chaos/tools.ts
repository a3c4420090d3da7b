import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { buildWithFaults } from '../support/fault-build/build.js';
import { buildLoad } from './load/load.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
/** In the copy of the checkout that a guest of the lab has, which has no compiler. */
const PREBUILT = path.join(ROOT, 'node_modules/.fsbackup/chaos');

/** What has to be compiled for tests of faults. */
export interface ChaosTools {
  /** An fsbackup whose boundaries act. */
  faultCli: string;
  /** `load.c` */
  loadProgram: string;
  remove: () => Promise<void>;
}

/** Compiles for the guests of the lab, into the checkout that they get a copy of. */
export async function prebuild(): Promise<void> {
  await rm(PREBUILT, { recursive: true, force: true });
  await mkdir(PREBUILT, { recursive: true, mode: 0o700 });
  await buildWithFaults(PREBUILT);
  await buildLoad(PREBUILT);
}

/** Compiles, but in a guest of the lab, where `npm run chaos -- --prebuild` has done so before. */
export async function chaosTools(): Promise<ChaosTools> {
  if (process.env['FSBACKUP_LAB_GUEST'] !== undefined) {
    const [faultCli, loadProgram] = [path.join(PREBUILT, 'bin/run.js'), path.join(PREBUILT, 'load')];
    return { faultCli, loadProgram, remove: async () => undefined };
  }
  const directory = await mkdtemp(path.join(os.tmpdir(), 'chaos-tools-'));
  const build = await buildWithFaults();
  return {
    faultCli: build.cli,
    loadProgram: await buildLoad(directory),
    remove: async () => {
      await build.remove();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
