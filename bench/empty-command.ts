import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { mustRun } from './bench-world.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Makes a program of one oclif command that does nothing, with a manifest as ours has; returns how to run it. */
export async function makeEmptyCommand(): Promise<{ argv: [string, ...string[]]; directory: string }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'empty-command-'));
  await mkdir(path.join(directory, 'dist/commands'), { recursive: true });
  await mkdir(path.join(directory, 'bin'));
  const oclif = { bin: 'empty', dirname: 'empty', commands: './dist/commands', topicSeparator: ' ' };
  await writeFile(
    path.join(directory, 'package.json'),
    JSON.stringify({ name: 'empty', version: '1.0.0', type: 'module', files: ['dist'], oclif }),
  );
  await writeFile(
    path.join(directory, 'dist/commands/nothing.js'),
    "import { Command } from '@oclif/core';\nexport default class Nothing extends Command { async run() {} }\n",
  );
  await writeFile(
    path.join(directory, 'bin/run.js'),
    "import { execute } from '@oclif/core';\nawait execute({ dir: import.meta.url });\n",
  );
  await symlink(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'));
  await mustRun(
    ['sh', '-c', 'cd "$1" && "$2" node_modules/oclif/bin/run.js manifest', 'sh', directory, process.execPath],
    {
      PATH: process.env['PATH'] ?? '',
    },
  );
  return { argv: [process.execPath, path.join(directory, 'bin/run.js'), 'nothing'], directory };
}
