import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backupDirectory, dataDirectory, type BackupRef } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { writeResumeNote } from '../../src/copy/rsync/resume-note.js';
import type { PruneReport } from '../../src/retention/render.js';
import { hostLabel } from '../../src/system/host-label.js';
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

  it('keeps what a backup may need whose manifest cannot be read, and says for which', async () => {
    const FOURTH = '20261122T010000Z-dddddd';
    await makeBackup(ref(FIRST), { engine: 'image' });
    // As older versions wrote it, who named the next one alone.
    await makeBackup(ref(SECOND), { engine: 'image', needs: [FIRST] });
    await makeBackup(ref(THIRD), { engine: 'image', needs: [SECOND] });
    await makeBackup(ref(FOURTH), { engine: 'image' });
    const manifest = path.join(backupDirectory(ref(SECOND)), 'manifest.json');
    const text = await readFile(manifest, 'utf8');
    await writeFile(manifest, `#${text.slice(1)}`);
    const args = ['srv', '--from', target, '--keep-last', '2'];
    const { stdout } = await cli.run('backups', 'prune', ...args);
    expect(stdout).toContain(`  keep     srv@${FIRST}  ${SECOND} is damaged, and may need it`);
    expect(await ids()).toHaveLength(4);
    await writeFile(manifest, text);
    await cli.run('backups', 'prune', 'srv', '--from', target, '--keep-last', '1');
    expect(await ids()).toEqual([FOURTH]);
  });

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

  /** What a run that was broken off leaves for the next one of its job on a host. */
  async function interrupt(job: string, daysAgo: number, host = hostLabel()): Promise<string> {
    const kept = path.join(target, job, `.incomplete-${host}`);
    await mkdir(path.join(kept, 'data'), { recursive: true, mode: 0o700 });
    await writeFile(path.join(kept, 'data', 'half'), 'half');
    await writeResumeNote(path.join(kept, 'digests.gz'), {
      version: 1,
      backupId: SECOND,
      startedAt: new Date(Date.now() - daysAgo * 86_400_000).toISOString(),
      place: 'here',
      algorithm: 'xxh128',
      instance: '',
      isSynced: false,
      rounds: 0,
    });
    return kept;
  }

  it('keeps what a run goes on from, says so, and removes it when it is asked to', async () => {
    await makeBackup(ref(FIRST));
    const kept = [
      await interrupt('srv', 1),
      await interrupt('srv', 300, 'other'),
      await interrupt('gone', 1),
    ];
    const args = ['--from', target, '--keep-last', '1'];
    const { stdout } = await cli.run('backups', 'prune', ...args, '--dry-run');
    const goesOn = `keep     srv@${SECOND}  broken off: the next run of srv on`;
    expect(stdout).toContain(`${goesOn} ${hostLabel()} goes on from it; --interrupted removes it`);
    expect(stdout).toContain(`${goesOn} other goes on from it`);
    expect(stdout).toContain('srv: 3 kept, 0 would be removed');
    expect(
      (await pruned(...args)).pruned.map(({ interrupted }) => interrupted.map((one) => one.action)),
    ).toEqual([['keep', 'keep'], ['keep']]);
    for (const one of kept) expect(await readdir(one)).toContain('data');

    // A job that has nothing else, and no rules.
    const gone = await pruned('gone', '--from', target, '--interrupted');
    expect([gone.exitCode, gone.pruned[0]?.removed]).toEqual([0, [SECOND]]);
    expect(await readdir(path.join(target, 'gone'))).toEqual([]);
    expect((await pruned('--from', target, '--interrupted')).exitCode).toBe(0);
    expect(await readdir(path.join(target, 'srv'))).toEqual([FIRST]);
    expect((await cli.run('backups', 'list', '--from', target)).stdout).not.toContain('broken off');
  });

  it('removes what no run has gone on from for long, of jobs that are configured no more too', async () => {
    await makeBackup(ref(FIRST));
    await makeBackup(ref(FIRST, 'old'));
    await interrupt('old', 100);
    await interrupt('recent', 10);
    await interrupt('old', 100, 'other');
    const config = path.join(directory, 'config.yaml');
    const jobs = { srv: { sources: ['/srv'], targets: [target], keep: { last: 1 } } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const dry = await cli.run('backups', 'prune', '--config', config, '--dry-run');
    expect(dry.stdout).toContain(
      `remove   old@${SECOND}  broken off: no run of old has gone on from it for 90 days`,
    );
    expect(await readdir(path.join(target, 'old'))).toHaveLength(3);
    expect((await pruned('--config', config)).exitCode).toBe(0);
    expect((await readdir(path.join(target, 'old'))).toSorted()).toEqual(['.incomplete-other', FIRST]);
    expect(await readdir(path.join(target, 'recent'))).toHaveLength(1);
  });

  it('goes on with a removal of it that was killed', async () => {
    const kept = await interrupt('srv', 1);
    await rename(kept, `${kept}+removing`);
    await interrupt('srv', 1);
    expect((await pruned('--from', target, '--keep-last', '1')).pruned[0]?.removed).toEqual([SECOND]);
    expect(await readdir(path.join(target, 'srv'))).toEqual([path.basename(kept)]);
  });

  it('follows no symlink to what is none', async () => {
    const elsewhere = path.join(directory, 'elsewhere');
    await rename(await interrupt('srv', 300), elsewhere);
    await symlink(elsewhere, path.join(target, 'srv', `.incomplete-${hostLabel()}`));
    const { exitCode, pruned: results } = await pruned('--from', target, '--interrupted');
    expect([exitCode, results[0]?.failed[0]?.message]).toEqual([
      60,
      expect.stringContaining('it is not a directory') as string,
    ]);
    expect(await readdir(path.join(elsewhere, 'data'))).toEqual(['half']);
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
    // Held for as long as the command takes, however slow the machine is: the program itself holds it, and is ended.
    const holder = spawn('flock', ['--no-fork', lock, 'sleep', '300'], { stdio: 'ignore' });
    try {
      const isFree = (): Promise<boolean> =>
        must('flock', '--nonblock', lock, 'true').then(
          () => true,
          () => false,
        );
      while (await isFree()) await sleep(50);
      const done = await cli.run('backups', 'prune', '--from', target, '--keep-last', '1');
      expect(done.exitCode).toBe(11);
      expect(await ids()).toHaveLength(3);
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
  });
});
