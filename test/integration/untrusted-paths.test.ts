import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { withScratch } from '../../src/system/scratch.js';
import { describeNeeding } from '../support/capabilities.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CLI = path.resolve(import.meta.dirname, '../../bin/run.js');
const STRANGER = 65_534;

/** Places that another user could swap for a symlink while root writes there: each is refused, and nothing written. */
describeNeeding(['root', 'loop', 'xfs', 'ext4'], 'paths that another user decides on', () => {
  const disks = throwawayDisks(afterAll);
  let source: ThrowawayFilesystem;
  let home: string;
  let elsewhere: string;

  beforeAll(async () => {
    // As a rule nobody else may enter a throwaway directory, and then nobody else decides.
    chmodSync(disks.directory, 0o755);
    source = await disks.filesystem({ fstype: 'ext4', on: await disks.filesystem({ fstype: 'xfs' }) });
    writeFileSync(path.join(source.mountpoint, 'passwd'), 'restored');
  });
  beforeEach(() => {
    for (const name of ['home', 'elsewhere', 'own', 'restored', 'state', 'run']) {
      rmSync(path.join(disks.directory, name), { recursive: true, force: true });
    }
    home = path.join(disks.directory, 'home');
    mkdirSync(home);
    chownSync(home, STRANGER, STRANGER);
    elsewhere = path.join(disks.directory, 'elsewhere');
    mkdirSync(elsewhere);
    writeFileSync(path.join(elsewhere, 'kept'), '');
  });

  function fsbackup(...args: string[]): Promise<CommandResult> {
    return fsbackupWith({}, ...args);
  }

  function fsbackupWith(env: Record<string, string>, ...args: string[]): Promise<CommandResult> {
    return runCommand([process.execPath, CLI, ...args], {
      env: {
        ...env,
        FSBACKUP_RUN_DIR: path.join(disks.directory, 'run'),
        FSBACKUP_STATE_DIR: path.join(disks.directory, 'state'),
      },
      cwd: '/',
      timeoutMs: 100_000,
    });
  }

  function backUp(to: string): Promise<CommandResult> {
    return fsbackup('run', '--job', 'srv', '--source', source.mountpoint, '--to', to);
  }

  it.each(['a directory of theirs', 'a directory of ours in theirs', 'a symlink of theirs'])(
    'a target that is %s',
    async (kind) => {
      const target = path.join(home, 'backups');
      if (kind.startsWith('a symlink')) symlinkSync(elsewhere, target);
      else mkdirSync(target);
      if (kind === 'a directory of theirs') chownSync(target, STRANGER, STRANGER);
      const { exitCode, stdout, stderr } = await backUp(target);
      expect(exitCode, stderr).toBe(2);
      expect(stdout).toContain(`${home} belongs to uid ${STRANGER}`);
      expect(stdout).toContain(`chown root ${home}`);
      expect(readdirSync(elsewhere)).toEqual(['kept']);
      expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
    },
  );

  it('a directory for the job that they put into a target', async () => {
    const target = path.join(disks.directory, 'own');
    mkdirSync(target);
    symlinkSync(path.join(home, 'srv'), path.join(target, 'srv'));
    mkdirSync(path.join(home, 'srv'));
    const { exitCode, stderr } = await backUp(target);
    expect(exitCode, stderr).toBe(2);
    expect(readdirSync(path.join(home, 'srv'))).toEqual([]);
  });

  it('a destination of a restore, there or not, and what was to become of it', async () => {
    const target = path.join(disks.directory, 'own');
    mkdirSync(target);
    const made = await backUp(target);
    expect(made.exitCode, made.stderr).toBe(0);
    symlinkSync(elsewhere, path.join(home, 'link'));
    for (const to of ['new', 'deep/new', 'link', 'link/new', '']) {
      const { exitCode, stderr } = await fsbackup(
        'restore',
        'srv',
        '--from',
        target,
        '--to',
        path.join(home, to),
        '--force',
      );
      expect(exitCode, stderr).toBe(2);
      expect(stderr).toContain(`${home} belongs to uid ${STRANGER}`);
    }
    expect(readdirSync(home)).toEqual(['link']);
    expect(readdirSync(elsewhere)).toEqual(['kept']);
    const restored = await fsbackup(
      'restore',
      'srv',
      '--from',
      target,
      '--to',
      path.join(disks.directory, 'restored'),
    );
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(existsSync(path.join(disks.directory, 'restored', source.mountpoint, 'passwd'))).toBe(true);
  });

  it('a directory to mount a backup at, and one for what is on its way', async () => {
    const target = path.join(disks.directory, 'own');
    mkdirSync(target);
    const made = await backUp(target);
    expect(made.exitCode, made.stderr).toBe(0);
    symlinkSync(elsewhere, path.join(home, 'link'));
    for (const at of ['new', 'link']) {
      const mounted = await fsbackup('backups', 'mount', 'srv', path.join(home, at), '--from', target);
      expect(mounted.exitCode, mounted.stderr).toBe(2);
      expect(mounted.stderr).toContain(`${home} belongs to uid ${STRANGER}`);
    }
    const verified = await fsbackupWith(
      { TMPDIR: home },
      'backups',
      'verify',
      'srv',
      '--full',
      '--from',
      target,
    );
    expect(verified.exitCode, verified.stderr).toBe(2);
    expect(verified.stderr).toContain(`${home} belongs to uid ${STRANGER}`);
    await expect(withScratch('verify', async () => {}, home)).rejects.toMatchObject({ code: 'usage' });
    expect(readdirSync(elsewhere)).toEqual(['kept']);
  });

  it('a target whose backups are to be removed: nothing is, there or elsewhere', async () => {
    const target = path.join(disks.directory, 'own');
    mkdirSync(target);
    for (let times = 0; times < 2; times += 1) {
      const made = await backUp(target);
      expect(made.exitCode, made.stderr).toBe(0);
    }
    const before = readdirSync(path.join(target, 'srv')).toSorted();
    chmodSync(target, 0o777);
    const pruned = await fsbackup('backups', 'prune', 'srv', '--from', target, '--keep-last', '1');
    expect(pruned.exitCode, pruned.stderr).not.toBe(0);
    expect(readdirSync(path.join(target, 'srv')).toSorted()).toEqual(before);
  });

  it('a run directory that others may write to, except for a thaw', async () => {
    const run = path.join(disks.directory, 'run');
    mkdirSync(run);
    chmodSync(run, 0o777);
    for (const command of ['status', 'recover']) {
      const { exitCode, stderr } = await fsbackup(command);
      expect(exitCode, stderr).toBe(2);
      expect(stderr).toContain(`the run directory ${run} cannot be trusted`);
    }
    expect(await fsbackup('thaw', '--all')).toMatchObject({ exitCode: 0 });
    chmodSync(run, 0o755);
    expect(await fsbackup('status')).toMatchObject({ exitCode: 0 });
    expect(statSync(run).mode & 0o777).toBe(0o700);
  });

  it('a catalogue on a disk, which could have root run a command', async () => {
    const disk = path.join(disks.directory, 'own');
    const proof = path.join(elsewhere, 'ran');
    mkdirSync(disk);
    const repository = {
      repository: '/nowhere',
      initialise: false,
      password: { command: ['touch', proof] },
      environment: {},
    };
    writeFileSync(path.join(disk, 'catalogue.json'), JSON.stringify({ version: 1, repository }));
    for (const args of [['list'], ['verify', 'srv'], ['show', 'srv']]) {
      await fsbackup('backups', ...args, '--from', disk);
    }
    expect(existsSync(proof)).toBe(false);
  });
});
