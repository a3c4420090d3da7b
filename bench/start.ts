import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mustRun, CLI, timed } from './bench-world.js';
import { median, type Figure } from './measure.js';

const ROOT = path.resolve(CLI, '../..');

/** The built package without its code cache, in a directory of its own. */
async function withoutCodeCache(directory: string): Promise<string> {
  for (const name of ['bin', 'dist', 'package.json', 'oclif.manifest.json'])
    await cp(path.join(ROOT, name), path.join(directory, name), {
      recursive: true,
      filter: (file) => !file.endsWith('.cache'),
    });
  await symlink(path.join(ROOT, 'native'), path.join(directory, 'native'));
  return path.join(directory, 'bin/run.js');
}

/** What a short command takes, against the same without V8's code cache. */
export async function benchStart(samples: number): Promise<Figure> {
  const directory = await mkdtemp(path.join(tmpdir(), 'bench-start-'));
  try {
    const bare = await withoutCodeCache(directory);
    const env = {
      FSBACKUP_RUN_DIR: path.join(directory, 'run'),
      FSBACKUP_STATE_DIR: path.join(directory, 'state'),
    };
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let sample = 0; sample < samples; sample += 1) {
      theirs.push(await timed(() => mustRun([process.execPath, bare, 'status'], env)));
      ours.push(await timed(() => mustRun([process.execPath, CLI, 'status'], env)));
    }
    return {
      what: 'fsbackup status, nothing held',
      ours: median(ours),
      unit: 'ms',
      baseline: { what: 'the same without its code cache', value: median(theirs) },
      limit: 0.9,
      samples,
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
