import { chmod, copyFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { runCommand } from '../../../src/system/run-command.js';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const LIMIT_MS = 300_000;

async function must(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>> = {}) {
  const PATH = process.env['PATH'] ?? '';
  const result = await runCommand(argv, { env: { PATH, ...env }, cwd: ROOT, timeoutMs: LIMIT_MS });
  if (result.exitCode !== 0) throw new Error(`${argv.join(' ')}: ${result.stdout}${result.stderr}`);
}

/** An fsbackup whose boundaries act, in a directory of its own. */
export interface FaultBuild {
  /** Its bin/run.js. */
  cli: string;
  remove: () => Promise<void>;
}

/**
 * Builds fsbackup with what acts at its boundaries, into a new directory that only this user can enter, or into the empty
 * one that is given: nothing of it comes near what is installed. Takes seconds.
 */
export async function buildWithFaults(given?: string): Promise<FaultBuild> {
  const directory = given ?? (await mkdtemp(path.join(os.tmpdir(), 'fault-build-')));
  const at = (name: string): string => path.join(directory, name);
  await mkdir(at('bin'));
  await mkdir(at('scripts'));
  await symlink(path.join(ROOT, 'node_modules'), at('node_modules'));
  for (const name of ['package.json', 'bin/run.js', 'oclif.manifest.json', 'scripts/build-native'])
    await copyFile(path.join(ROOT, name), at(name));
  const built = path.join(ROOT, 'native/build');
  await cp(path.join(ROOT, 'native'), at('native'), { recursive: true, filter: (file) => file !== built });
  const header = path.join(import.meta.dirname, 'fault-point.h');
  // The build takes its compiler from CC, so it needs no way in for tests.
  await writeFile(at('cc'), `#!/bin/sh\nexec cc '-DFAULT_POINTS="${header}"' "$@"\n`);
  await chmod(at('cc'), 0o700);
  await Promise.all([
    must([at('scripts/build-native')], { CC: at('cc') }),
    must([
      process.execPath,
      '--import',
      'tsx',
      'scripts/bundle.ts',
      at('dist'),
      path.join(import.meta.dirname, 'fault-point.ts'),
    ]),
  ]);
  return { cli: at('bin/run.js'), remove: () => rm(directory, { recursive: true, force: true }) };
}
