import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { jobSelection } from '../../../src/job-flags.js';
import { pickJobs, selectJobs } from '../../../src/run/select-jobs.js';
import { aJob } from '../../support/plan-facts.js';

const jobs = ['srv', 'home', 'db'].map((name) => aJob({ name }));
const parsed = { recursive: false, 'must-be-mountpoint': false, 'no-timeout': false };

describe('pickJobs', () => {
  it.each([
    ['none named: all of them', [], ['srv', 'home', 'db']],
    ['in the order named', ['db', 'srv'], ['db', 'srv']],
    ['each once', ['db', 'db'], ['db']],
  ])('%s', (_, names, expected) => {
    expect(pickJobs(jobs, names).map(({ name }) => name)).toEqual(expected);
  });

  it.each([
    ['hone', 'Did you mean home?'],
    ['x', 'The configuration has: srv, home, db.'],
  ])('refuses %s and says what there is', (name, hint) => {
    expect(() => pickJobs(jobs, [name])).toThrow(
      expect.objectContaining({ code: 'usage', message: `there is no job ${name}`, hint }),
    );
  });

  it('refuses a configuration without jobs', () => {
    expect(() => pickJobs([], [])).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('selectJobs', () => {
  it('takes the job that flags describe, with everything they say', async () => {
    const flags = {
      ...parsed,
      job: 'srv',
      source: ['/srv'],
      to: ['/backup'],
      engine: 'tar',
      exclude: ['*.tmp'],
      snapshot: 'none',
      recursive: true,
      'must-be-mountpoint': true,
      timeout: 20_000,
      'max-hold': 30_000,
    };
    expect(await selectJobs(jobSelection(flags, [], {}))).toMatchObject([
      {
        name: 'srv',
        sources: [{ path: '/srv', snapshot: 'none', exclude: ['*.tmp'], recursive: true }],
        targets: [{ path: '/backup', engine: 'tar', mustBeMountpoint: true }],
        freeze: { timeoutMs: 20_000, maxHoldMs: 30_000 },
      },
    ]);
  });

  it('needs all three of --job, --source and --to', async () => {
    const selection = jobSelection({ ...parsed, source: ['/srv'], to: ['/backup'] }, [], {});
    await expect(selectJobs(selection)).rejects.toMatchObject({ code: 'usage', exitCode: 2 });
  });

  it('takes no description beside the name of a job', async () => {
    const selection = jobSelection({ ...parsed, job: 'a', source: ['/srv'], to: ['/backup'] }, ['srv'], {});
    await expect(selectJobs(selection)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(/^srv: /) as string,
    });
  });

  it('reads the configuration where no flag describes a job', async () => {
    const selection = jobSelection({ ...parsed, config: '/nonexistent/config.yaml' }, ['srv'], {});
    await expect(selectJobs(selection)).rejects.toMatchObject({ code: 'usage' });
    expect(selection.flags).toBeUndefined();
  });

  it('holds flags and variables against the jobs that are meant, and no others', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'select-jobs-'));
    try {
      const config = path.join(directory, 'config.yaml');
      await writeFile(
        config,
        'version: 1\njobs:\n' +
          '  srv: { sources: [/srv], targets: [/backup], freeze: { maxHold: 100s } }\n' +
          '  home: { sources: [/home], targets: [/backup] }\n',
      );
      const select = async (...names: string[]) =>
        await selectJobs(jobSelection({ ...parsed, config }, names, { FSBACKUP_TIMEOUT: '90' }));
      expect(await select('srv')).toMatchObject([{ name: 'srv', freeze: { timeoutMs: 90_000 } }]);
      await expect(select('home')).rejects.toMatchObject({ code: 'usage' });
      await expect(select()).rejects.toMatchObject({ code: 'usage' });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
