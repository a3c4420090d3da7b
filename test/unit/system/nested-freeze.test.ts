import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readNestedFreeze, type NestedFreezeVerdict } from '../../../src/system/nested-freeze.js';

describe('the verdict on nested freezes', () => {
  let directory: string;
  let file: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'fsbackup-nested-'));
    file = path.join(directory, 'run/nested-freeze');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  function aTest(verdict: NestedFreezeVerdict) {
    return vi.fn<() => Promise<NestedFreezeVerdict>>(async () => verdict);
  }

  it('is tested once and then taken from a file for root alone', async () => {
    const test = aTest({ behaviour: 'nests' });
    expect(await readNestedFreeze(test, file)).toEqual({ behaviour: 'nests' });
    expect(await readNestedFreeze(test, file)).toEqual({ behaviour: 'nests' });
    expect(test).toHaveBeenCalledOnce();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(file))).mode & 0o777).toBe(0o700);
  });

  it('is tested again after a reboot, and when the file is damaged', async () => {
    await readNestedFreeze(aTest({ behaviour: 'leaks' }), file);
    const text = await readFile(file, 'utf8');
    for (const changed of [text.replace(/^./, 'x'), text.replace('leaks', 'sings'), '', text.slice(0, 50)]) {
      await writeFile(file, changed);
      const test = aTest({ behaviour: 'nests' });
      expect(await readNestedFreeze(test, file)).toEqual({ behaviour: 'nests' });
      expect(test).toHaveBeenCalledOnce();
    }
  });

  it('is not believed from a file that others may write', async () => {
    await readNestedFreeze(aTest({ behaviour: 'nests' }), file);
    await chmod(file, 0o666);
    expect(await readNestedFreeze(aTest({ behaviour: 'leaks' }), file)).toEqual({ behaviour: 'leaks' });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('is not kept when there is none', async () => {
    const verdict = { behaviour: 'unknown', reason: 'no loop device' } as const;
    const test = aTest(verdict);
    expect(await readNestedFreeze(test, file)).toEqual(verdict);
    await readNestedFreeze(test, file);
    expect(test).toHaveBeenCalledTimes(2);
  });

  it('is given also where it cannot be kept', async () => {
    await mkdir(path.join(file, 'in-the-way'), { recursive: true });
    expect(await readNestedFreeze(aTest({ behaviour: 'refuses' }), file)).toEqual({ behaviour: 'refuses' });
  });
});
