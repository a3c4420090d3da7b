import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { exists } from '../../src/system/exists.js';
import { hostLabel } from '../../src/system/host-label.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { findProcesses } from '../support/find-processes.js';
import { SshServer } from '../support/ssh-server.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const LONG_MS = 300_000;
const MIB = 1024 ** 2;

interface Listed {
  backups: { target: string; backupId: string; state: string; engine: string }[];
}

const NEEDS = ['root', 'loop', 'ext4', 'program:rsync', 'program:ssh', 'program:sshd'] as const;

describeNeeding(NEEDS, 'rsync to another host', () => {
  const disks = throwawayDisks(afterAll);
  let keys: string;
  let ssh: SshServer;
  let directory: string;
  let source: string;
  let remote: string;
  let config: string;
  let cli: FsbackupCli;

  beforeAll(async () => {
    keys = await mkdtemp(path.join(os.tmpdir(), 'rsync-remote-keys-'));
    ssh = await SshServer.start(keys);
  });
  afterAll(async () => {
    await ssh.stop();
    await rm(keys, { recursive: true, force: true });
  });
  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'rsync-remote-'));
    source = path.join(directory, 'source');
    remote = path.join(directory, 'a remote $HOME');
    config = path.join(directory, 'config.yaml');
    await mkdir(path.join(source, 'www'), { recursive: true });
    await writeFile(path.join(source, 'www', 'page'), 'page');
    cli = new FsbackupCli(directory);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  function address(): string {
    return `ssh://root@127.0.0.1:${ssh.port}${remote}`;
  }

  async function configure(more: object = {}, ofJob: object = {}): Promise<void> {
    const target = {
      repository: address(),
      initialise: true,
      environment: { RSYNC_RSH: ssh.client },
      ...more,
    };
    const sources = [{ path: source, snapshot: 'none' }];
    const jobs = { srv: { sources, targets: [target], attempts: 1, ...ofJob } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
  }

  /** As `configure`; no transfer gets further than into its second large file, until `letOn`. */
  async function configureHeld(): Promise<void> {
    const shell = path.join(directory, 'held-rsh');
    // Its own pid is that of ssh. Of one that was killed nothing holds the ends.
    const wait = `while [ -e /proc/$$/exe ] && ! [ -e ${directory}/let-on ]; do sleep 0.1; done`;
    const script = `#!/bin/bash
case "$*" in
*--server*) exec ${ssh.client} "$@" < <(exec 2>/dev/null; stdbuf -o0 head -c ${72 * MIB}; ${wait}; exec cat) ;;
*) exec ${ssh.client} "$@" ;;
esac
`;
    await writeFile(shell, script, { mode: 0o700 });
    await configure({ environment: { RSYNC_RSH: shell } });
  }

  async function letOn(): Promise<void> {
    await writeFile(path.join(directory, 'let-on'), '');
  }

  async function list(): Promise<Listed['backups']> {
    const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
    return (JSON.parse(stdout) as Listed).backups;
  }

  /** What a run says, on one line: it is folded for people. */
  async function said(): Promise<string> {
    const { stdout, stderr } = await cli.run('run', '--config', config);
    return `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ');
  }

  async function below(...names: string[]): Promise<string[]> {
    const found: string[] = await readdir(path.join(remote, ...names)).catch(() => []);
    return found.toSorted();
  }

  /** What there is of these backups, in order. */
  function named(...ids: (string | undefined)[]): string[] {
    return ids.flatMap((id = '') => [id, `${id}.digests.gz`, `${id}.json`]).toSorted();
  }

  async function large(...names: string[]): Promise<void> {
    for (const name of names)
      await must('dd', 'if=/dev/urandom', `of=${source}/${name}`, 'bs=1M', 'count=48', 'status=none');
  }

  /** The directory of the attempt that is going on, or was broken off. */
  async function attempt(): Promise<string> {
    const [name = '.none', ...others] = (await below('srv')).filter((one) => one.startsWith('.incomplete-'));
    expect(others).toEqual([]);
    return path.join(remote, 'srv', name);
  }

  async function incomplete(): Promise<string> {
    return path.join(await attempt(), 'tree');
  }

  /** What was recorded of the copy that goes on. */
  async function records(): Promise<string> {
    const { FSBACKUP_STATE_DIR: state } = cli.environment;
    const files = await readdir(state, { recursive: true });
    const raw = files.find((file) => file.endsWith('/digests.gz.raw'));
    return raw === undefined ? '' : await readFile(path.join(state, raw), 'utf8').catch(() => '');
  }

  /** Waits until a file has been copied whole, and that is recorded; the next one is then on its way. */
  async function copied(name: string, started: StartedCli): Promise<number> {
    for (;;) {
      const found = await stat(path.join(await incomplete(), source, name)).catch(() => undefined);
      if (found !== undefined && (await records()).includes(`/${name}\n`)) return found.ino;
      expect(started.hasEnded, started.output).toBe(false);
      await sleep(5);
    }
  }

  async function alive(pid: number): Promise<boolean> {
    return (await stat(`/proc/${pid}`).catch(() => undefined)) !== undefined;
  }

  /** The one backup there is whole, and was not begun from nothing. */
  async function expectGoneOnWith(name: string, inode: number, before = 0): Promise<void> {
    await letOn();
    expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
    const [backup, ...others] = (await list()).toReversed();
    expect([backup?.state, others.length]).toEqual(['complete', before]);
    const all = [...others.toReversed(), backup].flatMap((one) => named(one?.backupId));
    expect(await below('srv')).toEqual(all.toSorted());
    const stored = path.join(remote, 'srv', backup?.backupId ?? '', source);
    expect((await stat(path.join(stored, name))).ino).toBe(inode);
    expect(await compareTrees(source, stored)).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);
    const verified = await cli.run('backups', 'verify', 'srv', '--full', '--config', config, '--json');
    expect(verified.exitCode).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({ verified: [{ outcome: 'ok', withoutDigest: 0 }] });
  }

  async function loseConnection(): Promise<void> {
    // One that ended meanwhile is another transfer's.
    for (const pid of await findProcesses('ssh', path.join(keys, 'client'), '--server'))
      if (await alive(pid)) process.kill(pid, 'SIGKILL');
  }

  /** Said of what stays there, wherever somebody looks. */
  async function expectKept(): Promise<void> {
    const { stdout } = await cli.run('backups', 'list', '--config', config);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('was broken off, and is kept for the next run of srv');
    expect(await below('srv')).toEqual([path.basename(await attempt())]);
  }

  it(
    'is restored to no good end when the backup is removed there meanwhile, by whomever',
    async () => {
      const shell = path.join(directory, 'removing-rsh');
      const backup = `'${remote}'/srv/*Z-*[0-9a-f]`;
      // As a removal begins: what rsync had listed, it brings.
      const script = `#!/bin/bash
${ssh.client} "$@"; code=$?
case "$*" in *--sender*) for each in ${backup}; do mv "$each" "\${each%/*}/.removing-\${each##*/}"; done ;; esac
exit $code
`;
      await configure();
      expect((await cli.runJob('--config', config)).exitCode).toBe(0);
      await writeFile(shell, script, { mode: 0o700 });
      await configure({ environment: { RSYNC_RSH: shell } });
      const out = path.join(directory, 'out');
      const restored = await cli.run('restore', 'srv', '--to', out, '--config', config, source);
      expect([restored.exitCode, restored.stderr]).toEqual([
        1,
        expect.stringContaining('was removed while it was restored'),
      ]);
      expect(await readdir(path.join(out, source, 'www'))).toEqual(['page']);
    },
    LONG_MS,
  );

  it(
    'is backed up to, listed, shown, verified, restored and pruned with the same words',
    async () => {
      await configure({}, { keep: { last: 2 } });
      for (let count = 0; count < 2; count += 1) {
        const { value } = await cli.runJob('--config', config);
        expect(value.copies).toMatchObject([{ target: address(), engine: 'rsync', files: 1 }]);
      }
      const [first, second] = await list();
      const page = (id = ''): string => path.join(remote, 'srv', id, source, 'www', 'page');
      expect(await below('srv')).toEqual(named(first?.backupId, second?.backupId));
      expect((await stat(page(first?.backupId))).ino).toBe((await stat(page(second?.backupId))).ino);
      for (const one of [remote, path.join(remote, 'srv')])
        expect((await stat(one)).mode & 0o7777).toBe(0o700);

      // Without the configuration: the catalogue knows how to get there.
      const from = ['--from', address()];
      expect((await cli.run('backups', 'show', 'srv', ...from)).stdout).toContain(address());
      expect((await cli.run('backups', 'verify', 'srv', '--full', ...from)).exitCode).toBe(0);
      expect((await cli.run('backups', 'verify', 'srv', '--drill', ...from)).exitCode).toBe(0);
      const out = path.join(directory, 'out');
      expect((await cli.run('restore', 'srv', ...from, '--to', out, `${source}/w*`)).exitCode).toBe(0);
      expect(await compareTrees(path.join(source, 'www'), path.join(out, source, 'www'))).toEqual([]);

      await writeFile(page(second?.backupId), 'pagE');
      const verified = await cli.run('backups', 'verify', 'srv', '--full', ...from);
      expect(verified.exitCode).toBe(50);
      expect(verified.stdout + verified.stderr).toContain(path.join(source, 'www', 'page'));

      await configure({}, { keep: { last: 1 } });
      await must('rm', page(first?.backupId));
      // It warns that it compares with the one that failed, by content.
      expect((await cli.run('run', '--config', config)).exitCode).toBe(3);
      expect((await cli.run('backups', 'verify', 'srv', '--full', ...from)).exitCode).toBe(0);
      expect((await cli.run('backups', 'prune', '--config', config)).exitCode).toBe(0);
      const left = (await list()).map(({ backupId }) => backupId);
      expect(await below('srv')).toEqual(named(...left));
      expect(left).not.toContain(first?.backupId);
    },
    LONG_MS,
  );

  it(
    'gets what was replaced by what has the same size and time',
    async () => {
      await configure();
      const page = path.join(source, 'www', 'page');
      await must('touch', '--date=@1000000000', page);
      await cli.runJob('--config', config);
      await writeFile(page, 'PAGE');
      await must('touch', '--date=@1000000000', page);
      await cli.runJob('--config', config);
      const stored = (await list()).map(({ backupId }) => path.join(remote, 'srv', backupId, source));
      const pages = stored.map((one) => readFile(path.join(one, 'www', 'page'), 'utf8'));
      expect((await Promise.all(pages)).toSorted()).toEqual(['PAGE', 'page']);
      expect((await cli.run('backups', 'verify', 'srv', '--full', '--config', config)).exitCode).toBe(0);
    },
    LONG_MS,
  );

  it(
    'takes one connection for all that it asks there, where ssh is told to share it, and leaves that alone',
    async () => {
      const socket = path.join(keys, 'shared');
      const sharing = `${ssh.client} -o ControlPath=${socket}`;
      await configure({
        environment: { RSYNC_RSH: `${sharing} -o ControlMaster=auto -o ControlPersist=280` },
      });
      const control = async (what: string): Promise<string> =>
        await must('bash', '-c', `${sharing} -O ${what} 127.0.0.1 2>&1`);
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      try {
        const first = await control('check');
        expect(first).toMatch(/^Master running/);
        expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
        expect((await cli.run('recover')).exitCode).toBe(0);
        expect(await control('check')).toBe(first);
        expect((await list()).map(({ state }) => state)).toEqual(['complete', 'complete']);
      } finally {
        await control('exit');
      }
    },
    LONG_MS,
  );

  it(
    'a connection that is lost in mid-copy: exit 40, nothing listed, and the next run goes on',
    async () => {
      await large('a', 'b', 'c', 'd', 'e', 'f');
      await configureHeld();
      const started = cli.start('run', '--config', config);
      const inode = await copied('a', started);
      await loseConnection();
      expect(await started.ended(), started.output).toBe(40);
      expect(await list()).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
      await expectKept();
      await expectGoneOnWith('a', inode);
    },
    LONG_MS,
  );

  it(
    'what an earlier version left, under the name of the host alone, is gone on with too',
    async () => {
      await large('a', 'b', 'c', 'd');
      await configureHeld();
      const started = cli.start('run', '--config', config);
      const inode = await copied('a', started);
      await loseConnection();
      expect(await started.ended(), started.output).toBe(40);
      const [left, old] = [await attempt(), path.join(remote, 'srv', `.incomplete-${hostLabel()}`)];
      expect(path.basename(left)).toMatch(/^\.incomplete-.*@[0-9a-f]{16}=[0-9a-f]{12}$/);
      await rename(path.join(left, 'tree'), old);
      if (await exists(path.join(left, 'partial')))
        await rename(path.join(left, 'partial'), `${old}+partial`);
      await rm(left, { recursive: true });
      await writeFile(path.join(remote, 'srv', `.note-${hostLabel()}`), '');
      await expectGoneOnWith('a', inode);
    },
    LONG_MS,
  );

  it(
    'a file that changed, of the same size, and a connection that is lost twice after it was sent',
    async () => {
      await large('a');
      await configure();
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      await large('a', 'b', 'c', 'd', 'e', 'f');
      await configureHeld();
      let inode = 0;
      for (const name of ['a', 'b']) {
        const started = cli.start('run', '--config', config);
        const found = await copied(name, started);
        if (name === 'a') inode = found;
        await loseConnection();
        expect(await started.ended(), started.output).toBe(40);
      }
      await expectGoneOnWith('a', inode, 1);
    },
    LONG_MS,
  );

  it(
    'of another host that was restarted only what is whole is gone on with',
    async () => {
      await large('a', 'b', 'c', 'd');
      await configureHeld();
      const started = cli.start('run', '--config', config);
      await copied('a', started);
      await loseConnection();
      expect(await started.ended(), started.output).toBe(40);
      const { FSBACKUP_STATE_DIR: state } = cli.environment;
      const files = await readdir(state, { recursive: true });
      const note = path.join(state, files.find((file) => file.endsWith('/digests.gz.resume')) ?? '');
      const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
      const text = await readFile(note, 'utf8');
      expect(text).toContain(bootId);
      await writeFile(note, text.replace(bootId, bootId.replaceAll(/[0-9]/g, '0')));
      const held = await open(path.join(await incomplete(), source, 'a'), 'r+');
      const { atime, mtime } = await held.stat();
      await held.write('lost', 4096);
      await held.utimes(atime, mtime);
      try {
        await letOn();
        expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
        const [backup] = await list();
        const stored = path.join(remote, 'srv', backup?.backupId ?? '', source, 'a');
        expect((await stat(stored)).ino).not.toBe((await held.stat()).ino);
        expect((await held.stat()).nlink).toBe(0);
        expect(await compareTrees(source, path.dirname(stored))).toEqual([]);
      } finally {
        await held.close();
      }
    },
    LONG_MS,
  );

  it(
    'a connection that is lost within a large file: of that, too, what has arrived is not sent again',
    async () => {
      await must('dd', 'if=/dev/urandom', `of=${source}/a`, 'bs=1M', 'count=96', 'status=none');
      const [shell, sent] = [path.join(directory, 'rsh'), path.join(directory, 'sent')];
      const script = `#!/bin/bash\nexec ${ssh.client} "$@" < <(exec tee -a ${sent})\n`;
      await writeFile(shell, script, { mode: 0o700 });
      await configure({ environment: { RSYNC_RSH: shell } });
      const started = cli.start('run', '--config', config);
      const halfWay = async (): Promise<boolean> => {
        const inside = path.join(await incomplete(), source);
        const name = (await readdir(inside).catch(() => [])).find((one) => one.startsWith('.a.')) ?? '';
        return ((await stat(path.join(inside, name)).catch(() => undefined))?.size ?? 0) > 48 * MIB;
      };
      while (!(await halfWay())) {
        expect(started.hasEnded, started.output).toBe(false);
        await sleep(5);
      }
      ssh.dropConnections();
      expect(await started.ended(), started.output).toBe(40);
      await writeFile(sent, '');
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      expect((await stat(sent)).size).toBeLessThan(60 * MIB);
      const [backup] = await list();
      expect(await compareTrees(source, path.join(remote, 'srv', backup?.backupId ?? '', source))).toEqual(
        [],
      );
    },
    LONG_MS,
  );

  it(
    'fsbackup and rsync that are killed in mid-copy: nothing listed, and the next run goes on',
    async () => {
      await large('a', 'b', 'c', 'd', 'e', 'f');
      await configureHeld();
      const started = cli.start('run', '--config', config);
      const inode = await copied('a', started);
      started.kill('SIGKILL');
      for (const pid of await findProcesses('rsync', remote, directory))
        if (await alive(pid)) process.kill(pid, 'SIGKILL');
      await started.ended();
      expect(await list()).not.toContainEqual(expect.objectContaining({ state: 'complete' }));
      await expectGoneOnWith('a', inode);
    },
    LONG_MS,
  );

  it(
    'a disk that fills up there: exit 40, its room is free again, and the next run completes',
    async () => {
      await large('a');
      const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 32 });
      remote = path.join(disk.mountpoint, 'backups');
      await configure();
      const failed = await cli.run('run', '--config', config);
      expect(failed.exitCode, failed.stderr).toBe(40);
      expect(failed.stderr).toContain('No space left on device');
      expect(await list()).toEqual([]);
      expect(await below('srv')).toEqual([]);
      await rm(path.join(source, 'a'));
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      expect(await list()).toMatchObject([{ state: 'complete' }]);

      // The disk is not mounted any more: nothing is written to where it was.
      await must('umount', disk.mountpoint);
      expect(await said()).toContain('mount the disk that it lies on');
      expect(await readdir(disk.mountpoint)).toEqual([]);
    },
    LONG_MS,
  );

  it('says before anything is copied what is wrong with the other end', async () => {
    await configure({ environment: { RSYNC_RSH: `${ssh.client} -o ConnectTimeout=5 -p 1` } });
    expect((await cli.run('run', '--config', config)).exitCode).toBe(2);
    expect(await said()).toContain('cannot be reached');
    await configure({ initialise: false });
    expect(await said()).toContain('`initialise: true`');
    await configure({ password: { file: '/nonexistent' } });
    expect(await said()).toContain('rsync knows no password');
    await configure({ repository: 'elsewhere' });
    expect((await cli.run('config', 'validate', '--config', config)).stderr).toContain('ssh://user@host');
    expect(await readFile(config, 'utf8')).toContain('elsewhere');
  });
});
