import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { writeStarter } from '../../../src/config/starter.js';

const HOST = { env: {}, freezes: [], hungTaskTimeoutMs: null };
let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'fsbackup-config-'));
  file = path.join(directory, 'etc/config.yaml');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('writeStarter', () => {
  it('writes a private file that is valid and has no job', async () => {
    await writeStarter(file, { force: false });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await expect(loadConfig({ ...HOST, configFile: file })).resolves.toEqual({ version: 1, jobs: [] });
  });

  it('is valid with its examples uncommented too, and shows the true defaults', async () => {
    await writeStarter(file, { force: false });
    const text = (await readFile(file, 'utf8')).replaceAll(/^# (?=( |freeze|attempts))/gm, '');
    await writeFile(file, text);
    const { jobs } = await loadConfig({ ...HOST, configFile: file });
    expect(jobs).toMatchObject([
      {
        name: 'srv',
        attempts: 3,
        freeze: { timeoutMs: 10_000, maxHoldMs: 60_000 },
        quiesce: [{ timeoutMs: 30_000 }],
      },
    ]);
  });

  it('leaves an existing file alone unless forced, and leaves nothing beside it', async () => {
    await writeStarter(file, { force: false });
    await writeFile(file, 'mine');
    await expect(writeStarter(file, { force: false })).rejects.toMatchObject({
      code: 'usage',
      message: `${file} exists already`,
    });
    await expect(readFile(file, 'utf8')).resolves.toBe('mine');
    await writeStarter(file, { force: true });
    await expect(readFile(file, 'utf8')).resolves.toContain('version: 1');
    await expect(readdir(path.dirname(file))).resolves.toEqual(['config.yaml']);
  });

  it('says so when it cannot write', async () => {
    await writeFile(path.join(directory, 'etc'), 'no directory');
    await expect(writeStarter(file, { force: false })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(file),
    });
  });
});
