import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { borgRepository, resticRepository, secretFile } from '../support/repositories.js';

const LONG_MS = 300_000;

interface Listed {
  backups: { backupId: string; state: string; sources: string[]; consistency: string; engine: string }[];
}

describeNeeding(
  ['root', 'program:restic', 'program:borg'],
  'a repository on a host that has no catalogue of it',
  () => {
    let directory: string;
    let source: string;
    let config: string;

    beforeEach(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), 'repository-alone-'));
      // Letters that mean something to the engines, and the name of the job.
      source = path.join(directory, 'a {b} "c"', 'tree', 'srv');
      config = path.join(directory, 'config.yaml');
      await mkdir(source, { recursive: true });
      await writeFile(path.join(source, 'file'), 'content');
    });
    afterEach(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    function host(name: string): FsbackupCli {
      return new FsbackupCli(path.join(directory, name));
    }

    async function listed(cli: FsbackupCli, ...args: string[]): Promise<Listed['backups']> {
      const { stdout, stderr } = await cli.run('backups', 'list', '--json', ...args);
      if (stdout === '') throw new Error(stderr);
      return (JSON.parse(stdout) as Listed).backups;
    }

    it('makes no catalogue of a repository that is only looked at', async () => {
      const empty = path.join(directory, 'empty');
      const key = `${empty}.key/key`;
      resticRepository(empty);
      const missing = path.join(directory, 'missing');
      const targets = [empty, missing].map((repository) => ({
        engine: 'restic',
        repository,
        password: { file: key },
      }));
      const jobs = { srv: { sources: [source], targets } };
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
      const cli = host('looks');
      const from = (repository: string): string[] => [
        '--from',
        repository,
        '--engine',
        'restic',
        '--password-file',
        key,
      ];
      const nothing = await cli.run('backups', 'list', ...from(empty));
      expect([nothing.exitCode, nothing.stderr]).toEqual([0, '']);
      expect(nothing.stdout).toContain(empty);
      const restore = ['restore', 'srv', '--to', path.join(directory, 'out')];
      for (const [args, repository] of [
        [['backups', 'verify', 'srv'], empty],
        [restore, empty],
        [['backups', 'prune', 'srv', '--keep-last', '1'], empty],
      ] as const) {
        const { exitCode, stderr } = await cli.run(...args, ...from(repository));
        expect([exitCode, stderr]).toEqual([2, expect.stringContaining(`no backup of srv in ${empty}`)]);
      }
      expect((await cli.run('backups', 'list', ...from(missing))).exitCode).not.toBe(0);
      expect((await cli.run('backups', 'list', '--config', config)).exitCode).toBe(3);
      const state = await readdir(path.join(directory, 'looks', 'state')).catch(() => []);
      expect(state.filter((name) => ['catalogue', 'found'].includes(name))).toEqual([]);
    });

    it.each(['restic', 'borg'] as const)(
      '%s: its backups are listed, shown, verified and restored, and no retention removes them',
      async (engine) => {
        const repository = path.join(directory, 'repository');
        const { target } = (engine === 'restic' ? resticRepository : borgRepository)(repository);
        const sources = [{ path: source, snapshot: 'none' }];
        const targets = [{ engine, ...target.repository }];
        const jobs = { srv: { sources, targets, keep: { last: 1 } } };
        await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
        const old = host('old');
        expect((await old.run('run', '--config', config)).exitCode).toBe(0);
        const [made] = await listed(old, '--config', config);

        // The configuration, the password and the repository are all that is left.
        const id = made?.backupId ?? '';
        const key = `${repository}.key/key`;
        const from = ['--from', repository, '--engine', engine, '--password-file', key];
        const foundAlone = [{ backupId: id, state: 'complete', engine, sources: [source] }];
        expect(await listed(host('third'), ...from)).toMatchObject(foundAlone);

        // Its first run, with its retention, neither hides nor removes what it did not make.
        const after = host('new');
        expect((await after.run('run', '--config', config)).exitCode).toBe(0);
        expect((await after.run('backups', 'prune', '--config', config)).exitCode).toBe(0);
        const both = await listed(after, '--config', config);
        expect(both.map(({ state }) => state)).toEqual(['complete', 'complete']);
        expect(both[0]).toMatchObject({ backupId: id, sources: [source], consistency: 'none' });
        const show = await after.run('backups', 'show', `srv@${id}`, '--config', config);
        expect(show.stdout).toContain(`read from the repository: what the run on ${os.hostname()} told`);
        const verify = await after.run('backups', 'verify', `srv@${id}`, '--full', '--config', config);
        expect([verify.exitCode, verify.stderr]).toEqual([0, expect.any(String)]);
        const out = path.join(directory, 'out');
        const restored = await after.run('restore', `srv@${id}`, '--to', out, '--config', config);
        expect([restored.exitCode, restored.stderr]).toEqual([0, expect.any(String)]);
        expect(await compareTrees(source, path.join(out, source), { ignoreRoot: true })).toEqual([]);

        // One that no password opens is told of, and what is remembered is marked.
        const wrong = secretFile(path.join(directory, 'wrong'), 'another');
        const asked = ['--from', repository, '--engine', engine, '--password-file', wrong];
        const unasked = await after.run('backups', 'list', ...asked);
        expect([unasked.exitCode, unasked.stdout]).toEqual([3, expect.stringContaining('NOT ASKED: ')]);
        expect(unasked.stdout).toContain('remembered as complete');
        const json = await after.run('backups', 'list', '--json', ...asked);
        expect(JSON.parse(json.stdout)).toMatchObject({
          absent: [{ target: repository, unasked: true }],
          backups: [{ remembered: true }, { remembered: true }],
        });

        // Without the repository: what is known here is told, and that it is not there; elsewhere nothing is known.
        await rename(repository, `${repository}.gone`);
        const known = await after.run('backups', 'list', '--config', config);
        expect([known.exitCode, known.stdout]).toEqual([3, expect.stringContaining('NOT THERE')]);
        expect(known.stdout).toContain(both[1]?.backupId);
        const named = await after.run('backups', 'list', ...from);
        expect([named.exitCode, named.stdout]).toEqual([
          3,
          expect.stringContaining('remembered as complete'),
        ]);
        expect((await host('fourth').run('backups', 'list', '--config', config)).exitCode).not.toBe(0);
      },
      LONG_MS,
    );
  },
);
