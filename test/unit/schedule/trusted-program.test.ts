import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { requireTrustedProgram } from '../../../src/schedule/schedule-host.js';

let directory: string;
let program: [string, string];

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'program-'));
  // Below a directory that nobody else may enter, nobody else writes.
  await chmod(directory, 0o755);
  for (const name of ['node', 'bin', 'dist']) await mkdir(path.join(directory, name), { mode: 0o755 });
  program = [path.join(directory, 'node/node'), path.join(directory, 'bin/run.js')];
  for (const file of program) await writeFile(file, '', { mode: 0o755 });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const own = [0, process.geteuid?.() ?? 0];

it('passes what only its owner can have written', async () => {
  await expect(requireTrustedProgram(program, own)).resolves.toBeUndefined();
});

it.each(['node', 'bin', 'dist', 'bin/run.js'])('refuses where others may write to %s', async (name) => {
  await chmod(path.join(directory, name), 0o777);
  await expect(requireTrustedProgram(program, own)).rejects.toThrow(
    /may be written by its group or by others/,
  );
});

it('refuses what belongs to somebody else', async () => {
  await expect(requireTrustedProgram(program, [54_321])).rejects.toMatchObject({ code: 'usage' });
});
