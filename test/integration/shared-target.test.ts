import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { isComplete, listBackups } from '../../src/copy/backup/backup-list.js';
import { pathInBackup } from '../../src/copy/source-layout.js';
import type { RunReport } from '../../src/report/run-report.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { throwawayDisks } from '../support/throwaway-filesystem.js';

/** A bound against hanging: commands of a loaded machine take their time. */
vi.setConfig({ testTimeout: 600_000 });

/** $1: name, $2: its machine-id, $3: what it has at the path of the source, $4: that path. */
const AS_HOST = `set -e
hostname "$1"
if test -e /etc/machine-id; then mount --bind "$2" /etc/machine-id; fi
mount --bind "$3" "$4"
shift 4
exec "$@"`;

describeNeeding(
  ['root', 'program:rsync', 'program:unshare'],
  'a target that two hosts share, for jobs of one name',
  () => {
    const disks = throwawayDisks(afterAll);

    it('has the backups of each for itself', async () => {
      const at = (...names: string[]): string => path.join(disks.directory, ...names);
      const target = at('target');
      const source = at('srv');
      for (const directory of [target, source]) await mkdir(directory);
      const config = at('config.yaml');
      const job = {
        sources: [{ path: source, snapshot: 'none' }],
        targets: [target],
        keep: { last: 1 },
        attempts: 1,
      };
      await writeFile(config, JSON.stringify({ version: 1, jobs: { srv: job } }), { mode: 0o600 });

      const host = async (letter: string, machine: string) => {
        const tree = at(`tree-${letter}`);
        await mkdir(tree);
        await writeFile(path.join(tree, 'file'), `of host ${letter}`);
        await utimes(path.join(tree, 'file'), 1, 1);
        await writeFile(at(`id-${letter}`), `${letter.repeat(32)}\n`);
        await mkdir(at(`state-${letter}`));
        const cli = new FsbackupCli(at(`state-${letter}`));
        return async (name: string, ...args: string[]) => {
          const wrapper = [
            'unshare',
            '--uts',
            '--mount',
            'bash',
            '-c',
            AS_HOST,
            'host',
            name,
            machine,
            tree,
            source,
          ];
          return await cli.runUnder(wrapper, ...args, '--config', config);
        };
      };
      const a = await host('a', at('id-a'));
      const b = await host('b', at('id-b'));
      const run = async (as: typeof a, name: string): Promise<RunReport> =>
        JSON.parse((await as(name, 'run', '--json')).stdout) as RunReport;
      const made = async (): Promise<string[]> =>
        (await listBackups(target)).filter(isComplete).map(({ manifest }) => manifest.host?.name ?? '');

      expect(await run(a, 'alpha')).toMatchObject({ exitCode: 0, warnings: [] });
      // Nothing of its own yet.
      const latest = await b('beta', 'restore', 'srv', '--to', at('restored-b'));
      expect(latest.stderr).toContain('was made by another host, alpha: there is none that this host made');

      expect(await run(b, 'beta')).toMatchObject({
        exitCode: 0,
        warnings: [expect.stringContaining('does not tell that it was made of the filesystems of this host')],
        retention: [{ removed: [] }],
      });
      expect(await made()).toEqual(['alpha', 'beta']);
      const restored = await a('alpha', 'restore', 'srv', '--to', at('restored-a'));
      expect(restored).toMatchObject({ exitCode: 0 });
      expect(restored.stderr).not.toContain('another host');
      expect(await readFile(at('restored-a', pathInBackup(source), 'file'), 'utf8')).toBe('of host a');
      expect((await a('alpha', 'backups', 'list')).stdout).toMatch(/verified +host\n.* alpha\n.* beta\n/);

      // Its own rules are about its own ones, whatever it is called.
      const [first] = await listBackups(target);
      expect(await run(a, 'renamed')).toMatchObject({
        exitCode: 0,
        retention: [{ removed: [first?.backupId] }],
      });
      expect((await made()).toSorted()).toEqual(['beta', 'renamed']);
    });
  },
);
