import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { listBackups } from '../../src/copy/backup/backup-list.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import type { VerifyReport } from '../../src/copy/verify/verify-backup.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { makeNastyTree } from '../support/nasty-tree.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const NEEDS = ['root', 'loop', 'ext4', 'program:rsync', 'program:zstd', 'program:setfacl'] as const;
const ENGINES = ['rsync', 'tar'] as const;
/** A bound against hanging for ever. */
const LIMIT_MS = 60_000;

describeNeeding(NEEDS, 'backups verify --drill', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let source: string;
  let target: string;
  let count = 0;

  beforeAll(async () => {
    source = path.join(disks.directory, 'srv');
    await mkdir(path.join(source, 'www'), { recursive: true });
    await writeFile(path.join(source, 'www', 'page'), 'page '.repeat(10_000));
    await must('truncate', '--size=20M', path.join(source, 'sparse'));
    await must('bash', '-c', 'echo end >> "$1"', 'bash', path.join(source, 'sparse'));
    await must('setfacl', '-m', 'u:54321:rw', path.join(source, 'www', 'page'));
  });

  beforeEach(async () => {
    count += 1;
    cli = new FsbackupCli(path.join(disks.directory, `state-${count}`));
    target = path.join(disks.directory, `target-${count}`);
    await mkdir(target);
  });

  /** Backs up, and returns the arguments of a drill by a configuration with these settings. */
  async function prepare(engine: string, settings?: object): Promise<string[]> {
    const config = path.join(disks.directory, `config-${count}.yaml`);
    const job = {
      sources: [{ path: source, snapshot: 'none' }],
      targets: [{ path: target, engine }],
      ...(settings === undefined ? {} : { drill: settings }),
    };
    await writeFile(config, JSON.stringify({ version: 1, jobs: { srv: job } }), { mode: 0o600 });
    expect((await cli.runJob('--config', config)).value.error).toBeUndefined();
    return ['backups', 'verify', 'srv', '--drill', '--config', config];
  }

  async function drill(...args: string[]): Promise<{ exitCode: unknown; report: VerifyReport }> {
    const { exitCode, stdout, stderr } = await cli.run(...args, '--json');
    const [report] = (JSON.parse(stdout) as { verified: VerifyReport[] }).verified;
    if (report === undefined) throw new Error(stderr);
    return { exitCode, report };
  }

  async function leftovers(directory = target): Promise<string[]> {
    const names = await readdir(directory);
    return [...names.filter((name) => name.startsWith('.fsbackup')), ...(await cli.journalEntries())];
  }

  it.each(ENGINES)(
    '%s: restores all, compares it, runs the command on it, and removes it',
    async (engine) => {
      const seen = path.join(disks.directory, `seen-${count}`);
      const script = `cat "$1${source}/www/page" > "$2"; stat -c %a "$(dirname "$1")" >> "$2"; pwd >> "$2"`;
      const args = await prepare(engine, { command: ['bash', '-c', script, 'bash', '{directory}', seen] });
      const { exitCode, report } = await drill(...args);
      expect(report.problems).toEqual([]);
      expect([exitCode, report.outcome, report.mode, report.withoutDigest]).toEqual([0, 'ok', 'drill', 0]);
      expect(report.drill).toMatchObject({ restoredFiles: 2, leftBehind: null });
      const directory = report.drill?.directory ?? '';
      expect(path.dirname(directory)).toBe(target);
      expect(await readFile(seen, 'utf8')).toBe(`${'page '.repeat(10_000)}700\n${directory}/restored\n`);
      expect(await leftovers()).toEqual([]);
      expect((await cli.run('backups', 'list', '--from', target)).stdout).toMatch(/drill ok \d{4}-/);
      expect((await cli.run('backups', 'show', 'srv', '--from', target)).stdout).toMatch(
        /verified +drill ok/,
      );
    },
  );

  it('is elsewhere where the target can only be read', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    target = disk.mountpoint;
    const args = await prepare('rsync');
    await must('mount', '-o', 'remount,ro', target);
    const { exitCode, report } = await drill(...args);
    expect([exitCode, report.problems, report.outcome]).toEqual([0, [], 'ok']);
    expect(path.dirname(report.drill?.directory ?? '')).toBe('/var/tmp');
    const there = await cli.run(...args, '--drill-directory', target);
    expect([there.exitCode, there.stderr]).toEqual([2, expect.stringContaining('Read-only file system')]);
  });

  it.each(ENGINES)('%s: fails when the command does, and tells what it said', async (engine) => {
    const args = await prepare(engine, { command: ['bash', '-c', 'echo no database >&2; exit 7'] });
    const { exitCode, report } = await drill(...args);
    expect([exitCode, report.outcome]).toEqual([50, 'failed']);
    expect(report.problems).toEqual([
      'the command of the drill failed: bash ended with exit code 7: no database',
    ]);
    expect(await leftovers()).toEqual([]);
    expect((await cli.run('backups', 'list', '--from', target)).stdout).toMatch(/drill failed/);
  });

  it('ends a command that takes too long, and what it left running', async () => {
    const script = 'sleep 1000 & cd "$1"; setsid sleep 1000 & sleep 1000';
    const command = ['bash', '-c', script, 'bash', '{directory}'];
    const args = await prepare('rsync', { command, timeout: '1s' });
    const { report } = await drill(...args);
    expect(report.problems).toEqual(['the command of the drill failed: bash did not end in time']);
    expect(await leftovers()).toEqual([]);
  });

  it('finds damage in the stored backup by its restore', async () => {
    const args = await prepare('rsync');
    const [backup] = await listBackups(target);
    if (backup === undefined) throw new Error('no backup');
    const page = path.join(dataDirectory(backup), source, 'www', 'page');
    await must(
      'bash',
      '-ec',
      'w=$(stat -c %y "$1"); printf X | dd of="$1" bs=1 seek=9 conv=notrunc status=none; touch -d "$w" "$1"',
      'bash',
      page,
    );
    const { exitCode, report } = await drill(...args);
    expect(exitCode).toBe(50);
    expect(report.changed).toEqual({ count: 1, paths: [path.join(source, 'www', 'page')] });
  });

  it('refuses before anything is restored: no room, no command, no directory', async () => {
    const small: ThrowawayFilesystem = await disks.filesystem({ fstype: 'ext4', sizeMiB: 8 });
    const args = await prepare('tar', { command: ['no-such-program'] });
    const noCommand = await cli.run(...args);
    expect([noCommand.exitCode, noCommand.stderr]).toEqual([2, expect.stringContaining('no-such-program')]);
    const plain = await prepare('tar');
    const noRoom = await cli.run(...plain, '--drill-directory', small.mountpoint);
    expect([noRoom.exitCode, noRoom.stderr]).toEqual([2, expect.stringContaining('no room')]);
    const nowhere = await cli.run(...plain, '--drill-directory', path.join(target, 'nowhere'));
    expect(nowhere.exitCode).toBe(2);
    expect(await leftovers(small.mountpoint)).toEqual([]);
  });

  /** Sends a signal to a drill whose command runs. */
  async function interrupt(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    const started = path.join(disks.directory, `started-${count}`);
    const script = 'touch "$1"; exec sleep 1000';
    const args = await prepare('rsync', { command: ['bash', '-c', script, 'bash', started] });
    const run = cli.start(...args);
    const deadline = Date.now() + LIMIT_MS;
    while (!(await readdir(disks.directory)).includes(path.basename(started))) {
      if (run.hasEnded || Date.now() > deadline) throw new Error(`it did not start: ${run.output}`);
      await sleep(10);
    }
    run.kill(signal);
    return await run.ended();
  }

  it('leaves nothing behind after a signal', async () => {
    expect(await interrupt('SIGTERM')).toBe(143);
    expect(await leftovers()).toEqual([]);
  });

  it('leaves what recover releases when it is killed', async () => {
    expect(await interrupt('SIGKILL')).toBe('SIGKILL');
    expect(await leftovers()).toHaveLength(2);
    const { exitCode, value } = await cli.recover();
    expect(exitCode).toBe(0);
    expect(value.released).toMatchObject([{ kind: 'drill', job: 'srv@drill' }]);
    expect(await leftovers()).toEqual([]);
  });

  it('lets a run go on beside it, and recover leaves it alone; a second drill waits for nobody', async () => {
    const gate = path.join(disks.directory, `gate-${count}`);
    const script = 'until [ -e "$1" ]; do sleep 0.1; done; test -e "$2"';
    const inDrill = `{directory}${source}/www/page`;
    const args = await prepare('rsync', { command: ['bash', '-c', script, 'bash', gate, inDrill] });
    const first = cli.start(...args);
    await cli.journalled('drill', first);
    const second = await cli.run(...args);
    expect([second.exitCode, second.stderr]).toEqual([11, expect.not.stringContaining('--lock-wait')]);
    expect((await cli.recover()).value.leftAlone).toMatchObject([{ kind: 'drill' }]);
    expect((await cli.runJob('--config', args.at(-1) ?? '')).exitCode).toBe(0);
    await writeFile(gate, '');
    expect(await first.ended()).toBe(0);
  });

  it('says what is still there when it cannot be removed: exit 60, for recover', async () => {
    const args = await prepare('rsync', { command: ['mount', '-t', 'tmpfs', 'none', '{directory}'] });
    const { exitCode, report } = await drill(...args);
    expect([exitCode, report.outcome]).toEqual([60, 'ok']);
    expect(report.drill?.leftBehind).toContain('is mounted in it');
    expect((await cli.recover()).exitCode).toBe(60);
    await must('umount', path.join(report.drill?.directory ?? '', 'restored'));
    expect((await cli.recover()).exitCode).toBe(0);
    expect(await leftovers()).toEqual([]);
  });

  it('removes nothing that no drill made', async () => {
    const { removeDrill } = await import('../../src/copy/verify/drill-directory.js');
    const precious = path.join(target, 'precious');
    await mkdir(path.join(precious, 'below'), { recursive: true });
    const alias = path.join(target, '.fsbackup-drill-alias');
    await symlink(precious, alias);
    for (const directory of [precious, alias, path.join(alias, '.fsbackup-drill-x')]) {
      await removeDrill(directory).catch(() => undefined);
    }
    expect(await readdir(precious)).toEqual(['below']);
    await removeDrill(path.join(target, '.fsbackup-drill-none'));
  });
});

describeNeeding([...NEEDS, 'program:setfattr', 'program:setcap'], 'what was restored is compared', () => {
  const disks = throwawayDisks(afterAll);

  it.each([createRsyncEngine, createTarEngine])('with a nasty tree: %o', async (create) => {
    const engine = create();
    const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 1024 });
    const at = (name: string): string => path.join(disk.mountpoint, name);
    for (const name of ['data', 'out', 'work', 'work2']) await mkdir(at(name));
    await makeNastyTree(at('original'));
    const common = { signal: new AbortController().signal, onProgress: () => undefined };
    const digests = { file: at('digests.gz'), parent: undefined };
    const sources = [{ path: '/srv', readFrom: at('original'), exclude: [] }];
    const copied = await engine.copy({
      backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
      sources,
      dataDirectory: at('data'),
      parentDataDirectory: undefined,
      digests,
      ...common,
    });
    await engine.restore({
      dataDirectory: at('data'),
      sources: ['/srv'],
      destination: at('out'),
      paths: [],
      ...common,
    });
    const request = {
      dataDirectory: at('data'),
      restored: at('out'),
      digests: { file: digests.file, algorithm: copied.digests?.algorithm ?? '' },
      notInBackup: [],
      ...common,
    };
    const good = await engine.checkRestored?.({ ...request, scratch: at('work') });
    expect(good).toMatchObject({ changed: { paths: [] }, missing: { paths: [] }, problems: [] });

    const [one, two, three] = (await readdir(path.join(at('out'), 'srv', 'many', '0'))).map((name) =>
      path.join(at('out'), 'srv', 'many', '0', name),
    );
    if (one === undefined || two === undefined || three === undefined) throw new Error('three files');
    await must('chown', '4:4', one);
    await writeFile(two, 'something else, and longer');
    await rename(three, `${three}-moved`);
    const bad = await engine.checkRestored?.({ ...request, scratch: at('work2') });
    const live = [one, two].map((file) => file.slice(at('out').length));
    expect(bad?.changed.paths).toEqual(expect.arrayContaining(live));
    expect(bad?.missing.paths).toEqual([three.slice(at('out').length)]);
  });
});
