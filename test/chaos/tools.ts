import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { buildRecordWriter } from '../support/build-record-writer.js';
import { buildWithFaults } from '../support/fault-build/build.js';
import { IS_IN_GUEST, PREBUILT } from '../support/in-guest.js';
import { buildLoad } from './load/load.js';

/** What has to be compiled for tests of faults. */
export interface ChaosTools {
  /** An fsbackup whose boundaries act. */
  faultCli: string;
  /** `load.c` */
  loadProgram: string;
  remove: () => Promise<void>;
}

/** Compiles into an empty directory, for the guests of the lab. */
export async function prebuild(directory: string): Promise<void> {
  await buildWithFaults(directory);
  await buildLoad(directory);
  await buildRecordWriter(directory);
}

/** Compiles, but in a guest of the lab, which gets what the host has compiled. */
export async function chaosTools(): Promise<ChaosTools> {
  if (IS_IN_GUEST) {
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
