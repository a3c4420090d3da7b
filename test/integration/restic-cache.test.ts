import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { resticRepository } from '../support/repositories.js';
import { watchArguments } from '../support/secret-watch.js';
import { must } from '../support/throwaway-filesystem.js';

const LONG_MS = 240_000;
const WARNING = "the disk of restic's cache is full: it worked without its cache, which takes longer";

const NEEDS = ['root', 'program:restic', 'program:strace'] as const;

describeNeeding(NEEDS, 'a restic whose cache has a disk that is full', () => {
  let directory: string;
  let cache: string;
  let source: string;
  let config: string;
  let cli: FsbackupCli;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'restic-cache-'));
    cache = path.join(directory, 'cache');
    source = path.join(directory, 'source');
    config = path.join(directory, 'config.yaml');
    cli = new FsbackupCli(directory);
    await mkdir(cache);
    await must('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', cache);
    await mkdir(source);
    await writeFile(path.join(source, 'first'), 'first');
    const { repository } = resticRepository(path.join(directory, 'repository')).target;
    const environment = { RESTIC_CACHE_DIR: cache };
    const targets = [{ engine: 'restic', ...repository, environment }];
    const jobs = { srv: { sources: [{ path: source, snapshot: 'none' }], targets } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
  });
  afterEach(async () => {
    await must('umount', cache);
    await rm(directory, { recursive: true, force: true });
  });

  /** Takes all room, and from the cache what the next restic would have found in it: it stays open as it is. */
  async function fill(): Promise<void> {
    await must('find', cache, '-path', '*/index/*', '-type', 'f', '-delete');
    const filled = await runCommand(['dd', 'if=/dev/zero', `of=${cache}/filler`, 'bs=4k']);
    expect(filled.stderr).toContain('No space left on device');
  }

  it(
    'restores, backs up and warns of it, in place of trying again and again',
    async () => {
      const first = await cli.runJob('--config', config);
      expect([first.exitCode, first.value.warnings]).toEqual([0, []]);
      expect(await must('find', cache, '-path', '*/index/*', '-type', 'f')).not.toBe('');
      await fill();

      const out = path.join(directory, 'out');
      const restore = ['restore', 'srv', '--config', config, '--to', out];
      const { started, ended, seen } = await watchArguments(cli, directory, ...restore);
      expect(ended, started.output).toBe(0);
      expect(seen.some((line) => line.includes('restic\0--no-cache\0restore'))).toBe(true);
      expect(await compareTrees(source, path.join(out, source), { ignoreRoot: true })).toEqual([]);

      await writeFile(path.join(source, 'second'), 'second');
      const second = await cli.runJob('--config', config);
      expect(second.exitCode, second.stderr).toBe(3);
      expect(second.value.warnings).toEqual([expect.stringContaining(WARNING)]);
      expect(second.value.copies).toMatchObject([{ engine: 'restic', files: 2 }]);
      const verified = await cli.run('backups', 'verify', 'srv', '--full', '--config', config);
      expect(verified.exitCode, verified.stderr).toBe(0);
    },
    LONG_MS,
  );
});
