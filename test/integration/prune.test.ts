import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../src/copy/backup-layout.js';
import { listBackups } from '../../src/copy/backup-list.js';
import type { PruneReport } from '../../src/retention/render.js';
import { makeBackup, makeUnfinished } from '../support/backups.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must } from '../support/throwaway-filesystem.js';

const FIRST = '20261119T010000Z-aaaaaa';
const SECOND = '20261120T010000Z-bbbbbb';
const THIRD = '20261121T010000Z-cccccc';

describeNeeding(['root', 'program:chattr'], 'fsbackup backups prune', () => {
  let directory: string;
  let target: string;
  let cli: FsbackupCli;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'prune-'));
    target = path.join(directory, 'backups');
    await mkdir(target);
    cli = new FsbackupCli(directory);
  });
  afterEach(async () => {
    await must('chattr', '-R', '-f', '-i', directory).catch(() => undefined);
    await rm(directory, { recursive: true, force: true });
  });

  function ref(backupId: string, job = 'srv'): BackupRef {
    return { target, job, backupId };
  }

  async function makeThree(): Promise<void> {
    for (const id of [FIRST, SECOND, THIRD]) await makeBackup(ref(id));
  }

  async function ids(): Promise<string[]> {
    return (await listBackups(target)).map(({ backupId }) => backupId);
  }

  async function pruned(...args: string[]): Promise<{ exitCode: number | undefined; pruned: PruneReport[] }> {
    const { exitCode, stdout } = await cli.run('backups', 'prune', ...args, '--json');
    return { exitCode, pruned: (JSON.parse(stdout) as { pruned: PruneReport[] }).pruned };
  }

  it('says with --dry-run what stays and why, and does it without', async () => {
    await makeThree();
    await makeUnfinished(ref('20261122T010000Z-dddddd'));
    const args = ['srv', '--from', target, '--keep-daily', '2', '--keep-last', '1'];
    const dry = await cli.run('backups', 'prune', ...args, '--dry-run');
    expect(dry.exitCode).toBe(0);
    expect(dry.stdout.trimEnd().split('\n')).toEqual([
      target,
      `  remove   srv@${FIRST}  no rule keeps it`,
      `  keep     srv@${SECOND}  daily 2026-11-20`,
      `  keep     srv@${THIRD}  last 1, daily 2026-11-21, the newest, the last good one`,
      '  keep     srv@20261122T010000Z-dddddd  it is incomplete',
      'srv: 3 kept, 1 would be removed',
    ]);
    expect(await ids()).toHaveLength(4);
    const done = await pruned(...args);
    expect(done.exitCode).toBe(0);
    expect(done.pruned.map(({ removed }) => removed)).toEqual([[FIRST]]);
    expect(await ids()).toEqual([SECOND, THIRD, '20261122T010000Z-dddddd']);
  });

  it('takes its rules from the configuration, a target over its job, and removes nothing without any', async () => {
    const second = path.join(directory, 'second');
    await mkdir(second);
    await makeThree();
    for (const id of [FIRST, SECOND, THIRD]) await makeBackup({ target: second, job: 'srv', backupId: id });
    for (const id of [FIRST, SECOND]) await makeBackup(ref(id, 'web'));
    const config = path.join(directory, 'config.yaml');
    const text = [
      'version: 1',
      'jobs:',
      '  srv:',
      '    sources: [/srv]',
      `    targets: ["${target}", {path: "${second}", keep: {within: 1d}}]`,
      '    keep: {last: 1}',
      `  web: {sources: [/var], targets: ["${target}"]}`,
    ];
    await writeFile(config, text.join('\n'), { mode: 0o600 });
    const done = await pruned('--config', config);
    expect(done.pruned.map(({ removed }) => removed)).toEqual([[FIRST, SECOND], [FIRST]]);
    expect(await ids()).toEqual([THIRD, FIRST, SECOND]);
    const none = await cli.run('backups', 'prune', 'web', '--config', config);
    expect(none).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('web has no rules') as string,
    });
    expect((await cli.run('backups', 'prune', '--from', target)).exitCode).toBe(2);
  });

  it('keeps an immutable backup, names it and exits 60', async () => {
    await makeThree();
    await must('chattr', '+i', backupDirectory(ref(FIRST)));
    const done = await pruned('--from', target, '--keep-last', '1');
    expect(done.exitCode).toBe(60);
    expect(done.pruned[0]?.failed[0]?.message).toContain('immutable');
    expect(await ids()).toEqual([FIRST, THIRD]);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('names an immutable file in a backup, which recover removes once it may', async () => {
    await makeThree();
    const file = path.join(dataDirectory(ref(FIRST)), 'srv', 'file');
    await must('chattr', '+i', file);
    const done = await pruned('--from', target, '--keep-last', '1');
    expect(done.exitCode).toBe(60);
    expect(done.pruned[0]?.failed[0]?.message).toContain('srv/file');
    expect(await ids()).toEqual([THIRD]);
    expect(await cli.journalEntries()).toHaveLength(1);
    expect((await cli.recover()).exitCode).toBe(60);
    await must('chattr', '-R', '-i', path.join(target, 'srv'));
    expect((await cli.recover()).value.released).toMatchObject([{ kind: 'removal' }]);
    expect(await readdir(path.join(target, 'srv'))).toEqual([THIRD]);
  });

  it('killed at any moment leaves whole backups, and recover or another prune ends what was begun', async () => {
    for (const [round, waitMs] of [0, 8].entries()) {
      await makeThree();
      for (const id of [FIRST, SECOND]) {
        const files = path.join(dataDirectory(ref(id)), 'many');
        await mkdir(files);
        await must('bash', '-c', 'cd "$1" && seq 8000 | xargs touch', 'bash', files);
      }
      const started = cli.start('backups', 'prune', '--from', target, '--keep-last', '1');
      await cli.journalled('removal', started);
      await sleep(waitMs);
      started.kill('SIGKILL');
      await started.ended();
      for (const backup of await listBackups(target)) {
        expect(backup.state).toBe('complete');
        const files = await must('find', dataDirectory(backup), '-type', 'f');
        expect(files.split('\n')).toHaveLength(backup.backupId === THIRD ? 1 : 8001);
      }
      // By recover, and by another prune alone.
      if (round > 0) await cli.recover();
      const halfWay = (await readdir(path.join(target, 'srv'))).filter((name) => name.startsWith('.'));
      expect(halfWay.length).toBeLessThanOrEqual(round > 0 ? 0 : 1);
      expect((await pruned('--from', target, '--keep-last', '1')).exitCode).toBe(0);
      expect(await readdir(path.join(target, 'srv'))).toEqual([THIRD]);
      expect(await cli.journalEntries()).toEqual([]);
      await rm(path.join(target, 'srv'), { recursive: true });
    }
  }, 120_000);

  it('waits for nobody: a target in use is exit 11', async () => {
    await makeThree();
    const lock = path.join(directory, 'run', 'locks', 'job-srv.lock');
    await mkdir(path.dirname(lock), { recursive: true });
    await writeFile(lock, '');
    const holder = must('flock', lock, 'sleep', '3');
    await sleep(200);
    const done = await cli.run('backups', 'prune', '--from', target, '--keep-last', '1');
    expect(done.exitCode).toBe(11);
    expect(await ids()).toHaveLength(3);
    await holder;
  });
});
