import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { catalogueDirectory } from '../../../src/backup-target.js';
import { loadConfig } from '../../../src/config/load.js';
import {
  backupDirectory,
  digestFile,
  isBackupId,
  isJobName,
  jobDirectory,
} from '../../../src/copy/backup/backup-layout.js';
import { identityFile } from '../../../src/copy/target/target-identity.js';
import { jobLockName, targetLockName } from '../../../src/journal/lock.js';

const OUTSIDE = ['..', '.', '../etc', '/etc', 'a/b', 'a/../../b', './a', 'a/', '/', ''];
const ODD = [
  '-rf',
  '--delete',
  '.hidden',
  '_x',
  'a\nb',
  'a\n',
  '\na',
  'a\0',
  'a\0b',
  'a\u001B[31m',
  'a b',
  'a\tb',
  'ä',
  'a\u202Eb',
  '~',
  '$(id)',
  '`id`',
  'a;b',
  'a*',
  'a%2fb',
  'a\\b',
  'x'.repeat(65),
];
const BAD = [...OUTSIDE, ...ODD];
const GOOD = ['srv', 'a..b', 'a-', '0', 'A.b_c-d', 'x'.repeat(64), 'constructor', 'toString'];
const ID = '20261123T184500Z-1a2b3c';
const BAD_IDS = [
  ...BAD,
  `${ID}/..`,
  `../${ID}`,
  `${ID}\n`,
  `\n${ID}`,
  `${ID} `,
  `-${ID}`,
  ID.toLowerCase(),
  '20261123T184500Z-',
];

describe('the name of a job', () => {
  it.each(BAD)('%j: is none, and leads nowhere', (job) => {
    expect(isJobName(job)).toBe(false);
    expect(() => jobDirectory({ target: '/backup', job })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    );
    expect(() => backupDirectory({ target: '/backup', job, backupId: ID })).toThrow(
      expect.objectContaining({ code: 'usage' }),
    );
  });

  it.each(GOOD)('%s: stays in its target', (job) => {
    expect(path.dirname(jobDirectory({ target: '/backup', job }))).toBe('/backup');
    expect(path.dirname(identityFile({ job, target: '/backup' }, '/state'))).toBe('/state/targets');
  });

  it.each(BAD)('%j: is one file name as a lock all the same', (job) => {
    const file = path.join('/locks', `${jobLockName(job)}.lock`);
    expect(path.dirname(file)).toBe('/locks');
    expect(jobLockName(job)).toMatch(/^job-[ -~]*$/);
  });
});

describe('the id of a backup', () => {
  it.each(BAD_IDS)('%j: is none, and leads nowhere', (backupId) => {
    const ref = { target: '/backup', job: 'srv', backupId };
    expect(isBackupId(backupId)).toBe(false);
    expect(() => backupDirectory(ref)).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(() => digestFile(ref)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('a target', () => {
  it.each([...BAD, 'sftp:user@host:/../..', 's3:https://x/../../y', `/${'x'.repeat(400)}`])(
    '%j: is one name as a lock and as a catalogue',
    (target) => {
      expect(targetLockName(target)).toMatch(/^target-[0-9a-f]{16}$/);
      const catalogue = catalogueDirectory('restic', target, '/state');
      expect(path.dirname(catalogue)).toBe('/state/catalogue');
      expect(path.basename(catalogue)).toMatch(/^restic-[A-Za-z0-9._-]*-[0-9a-f]{8}$/);
    },
  );
});

describe('names in a configuration', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'names-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function load(jobs: object): Promise<string[]> {
    const file = path.join(directory, 'config.yaml');
    writeFileSync(file, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const config = await loadConfig({ configFile: file, env: {} });
    return config.jobs.map(({ name }) => name);
  }

  const job = (targets = '/backup', source = '/srv'): object => ({
    sources: [source],
    targets: [{ path: targets, engine: 'rsync' }],
  });

  it.each([...BAD, '__proto__'].filter((name) => name !== ''))('%j: is refused as a job', async (name) => {
    const jobs = Object.defineProperty({}, name, { value: job(), enumerable: true });
    await expect(load(jobs)).rejects.toMatchObject({ code: 'usage' });
  });

  it.each(GOOD)('%s: is taken as a job', async (name) => {
    expect(await load({ [name]: job() })).toEqual([name]);
  });

  it.each(['backup', '../backup', '/backup/../etc', '/..', '/a/..', '-x', ''])(
    '%j: is refused as a path',
    async (name) => {
      await expect(load({ srv: job(name) })).rejects.toMatchObject({ code: 'usage' });
      await expect(load({ srv: job('/backup', name) })).rejects.toMatchObject({ code: 'usage' });
    },
  );
});
