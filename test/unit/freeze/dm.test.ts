import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../../src/system/run-command.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const EINVAL = 22;
const ENXIO = 6;

/** A kernel that has device-mapper is only in the lab: here it is played. */
describe('what is asked of device-mapper', () => {
  let directory: string;
  let program: string;

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'dm-'));
    program = path.join(directory, 'dm');
    const sources = ['native/dm.c', 'test/support/dm-harness.c'].map((name) => path.join(ROOT, name));
    const flags = ['-std=gnu17', '-D_GNU_SOURCE', '-Wall', '-Werror', '-Dioctl=harness_ioctl'];
    const compiled = await runCommand([
      'cc',
      ...flags,
      '-I',
      path.join(ROOT, 'native'),
      '-o',
      program,
      ...sources,
    ]);
    expect(compiled.exitCode, compiled.stderr).toBe(0);
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function ask(what: 'is-suspended' | 'resume', state: string, ...fails: string[]) {
    const { stdout, exitCode } = await runCommand([program, what, '253', '700', state, ...fails]);
    expect(exitCode).toBe(0);
    return stdout.trimEnd().split('\n');
  }

  it.each([
    ['suspended', 'SA', 1],
    ['not suspended when it runs', 'A', 0],
    ['not suspended when it has no table that anybody could wait for', 'S', 0],
  ] as const)('a device is %s', async (_, state, suspended) => {
    expect(await ask('is-suspended', state)).toEqual(['status 253:700', `0 ${suspended}`]);
  });

  it('a device that is gone is told as such, and is not suspended', async () => {
    const said = await ask('is-suspended', 'SA', 'status', String(ENXIO));
    expect(said).toEqual(['status 253:700', `${ENXIO} 0`]);
  });

  it('a device is resumed with the table that it had: another that was loaded is dropped first', async () => {
    expect(await ask('resume', 'SA')).toEqual(['clear 253:700', 'resume 253:700', '0 1']);
  });

  it('a device is not resumed when the other table is not dropped', async () => {
    const said = await ask('resume', 'SA', 'clear', String(EINVAL));
    expect(said).toEqual(['clear 253:700', `${EINVAL} 1`]);
  });

  it('a device that could not be resumed is told', async () => {
    const said = await ask('resume', 'SA', 'resume', String(EINVAL));
    expect(said).toEqual(['clear 253:700', 'resume 253:700', `${EINVAL} 1`]);
  });
});
