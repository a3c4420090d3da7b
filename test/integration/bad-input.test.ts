import { chmod, lstat, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let storage: ThrowawayFilesystem;
let source: ThrowawayFilesystem;
let target: string;
let config: string;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  storage = await disks.filesystem({ fstype: 'xfs' });
  source = await disks.filesystem({ fstype: 'ext4', on: storage });
  target = path.join(disks.directory, 'backups');
  config = path.join(disks.directory, 'config.yaml');
  await mkdir(target);
  await mkdir(path.join(source.mountpoint, 'sub'));
  await writeFile(path.join(source.mountpoint, 'sub/file'), 'content');
});

afterEach(async () => {
  await disks.dispose();
});

/** What a job of the configuration may differ in from one that works. */
async function configure(changes: object = {}): Promise<void> {
  const srv = { sources: [source.mountpoint], targets: [target], ...changes };
  await writeFile(config, stringify({ version: 1, jobs: { srv } }), { mode: 0o600 });
}

function byFlags(changes: { source?: string; to?: string } = {}): string[] {
  return ['--job', 'srv', '--source', changes.source ?? source.mountpoint, '--to', changes.to ?? target];
}

/** The source can be written to, and of the run there is nothing: no mount, loop device, journal, clone or file. */
async function expectNothingDone(): Promise<void> {
  await must('touch', path.join(source.mountpoint, 'probe'));
  expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
  expect(await cli.journalEntries()).toEqual([]);
  expect(await readdir(storage.mountpoint)).toEqual([path.basename(source.image)]);
  expect(await readdir(target)).toEqual([]);
}

/** What a run says at its end when it fails: a line of what, a line of what to do. `expected` begins the first. */
function expectError(result: CommandResult, exitCode: number, expected: string): void {
  const lines = result.stderr.trimEnd().split('\n');
  const [message = '', hint = '', ...rest] = lines
    .slice(lines.findIndex((line) => /^\s*Error: /.test(line)))
    .map((line) => line.trim());
  expect(message.slice(0, 7 + expected.length), result.stderr).toBe(`Error: ${expected}`);
  expect(hint, result.stderr).toMatch(/^[A-Z`].*(?:\.|: \w+ .*)$/);
  expect(rest).toEqual([]);
  expect(result.stderr.match(/Error: /g)).toHaveLength(1);
  expect(result.stderr).not.toContain('a bug in fsbackup');
  expect(result.stdout).toBe('');
  expect(result.exitCode, result.stderr).toBe(exitCode);
}

async function expectRefusal(
  args: readonly string[],
  exitCode: number,
  expected: string,
  wrapper: readonly string[] = [],
): Promise<void> {
  expectError(await cli.runUnder(wrapper, 'run', '--quiet', ...args), exitCode, expected);
  const { exitCode: jsonExitCode, stdout } = await cli.runUnder(wrapper, 'run', '--json', ...args);
  const { error } = JSON.parse(stdout) as { error?: { exitCode: number; message: string; hint: string } };
  expect(error).toMatchObject({ exitCode, message: expect.stringContaining(expected) as string });
  expect(error?.hint).not.toBe('');
  expect(jsonExitCode).toBe(exitCode);
  await expectNothingDone();
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'a configuration that is wrong', () => {
  it('has an unknown key', async () => {
    await configure({ tragets: [] });
    const said = `${config}:8:5: jobs.srv.tragets: unknown key; did you mean "targets"?`;
    await expectRefusal(['--config', config], 2, said);
  });

  it('has a bad duration, in the file or in a flag', async () => {
    await configure({ freeze: { timeout: '10x' } });
    const said = `${config}:9:16: jobs.srv.freeze.timeout: not a duration`;
    await expectRefusal(['--config', config], 2, said);
    await expectRefusal([...byFlags(), '--timeout', '10x'], 2, '--timeout: "10x" is not a duration');
    await expectRefusal([...byFlags(), '--lock-wait', 'long'], 2, '--lock-wait: "long" is not a duration');
  });

  it('names a source that is missing, or no directory', async () => {
    const missing = path.join(source.mountpoint, 'missing');
    await configure({ sources: [source.mountpoint, missing] });
    await expectRefusal(
      ['--config', config],
      2,
      `${config}:6:9: jobs.srv.sources[1]: ${missing} does not exist`,
    );
    const file = path.join(source.mountpoint, 'sub/file');
    await expectRefusal(byFlags({ source: file }), 2, `${file} is not a directory`);
  });

  it('names a target that is missing', async () => {
    const missing = path.join(disks.directory, 'missing');
    await configure({ targets: [{ path: missing }] });
    await expectRefusal(
      ['--config', config],
      2,
      `${config}:7:9: jobs.srv.targets[0]: ${missing} does not exist`,
    );
    await expect(lstat(missing)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('may be written by anybody, or stands where anybody may write', async () => {
    await configure();
    await chmod(config, 0o666);
    await expectRefusal(['--config', config], 2, `${config} may be written by its group or by others`);
    // Not below a directory that nobody else may enter.
    const open = await mkdtemp(path.join(os.tmpdir(), 'open-'));
    await chmod(open, 0o777);
    await must('cp', config, open);
    await chmod(path.join(open, 'config.yaml'), 0o600);
    await expectRefusal(['--config', path.join(open, 'config.yaml')], 2, `${open} may be written by`);
    await rm(open, { recursive: true });
  });

  it('has the target inside its source, by another name too', async () => {
    const inside = path.join(source.mountpoint, 'sub');
    await configure({ targets: [inside] });
    const said = `the target ${inside} lies inside the source ${source.mountpoint}`;
    await expectRefusal(['--config', config], 2, `${config}:7:9: jobs.srv.targets[0]: ${said}`);
    const link = path.join(disks.directory, 'link');
    await symlink(inside, link);
    await expectRefusal(byFlags({ to: link }), 2, `the target ${link} lies inside the source`);
    const alias = path.join(disks.directory, 'alias');
    await mkdir(alias);
    await must('mount', '--bind', inside, alias);
    // As a bind mount it is first of all on what would be frozen; who insists gets no further.
    for (const [force, exitCode, message] of [
      [[], 20, `the target ${alias} is on ${source.mountpoint}, which would be frozen`],
      [['--force'], 2, `the target ${alias} lies inside the source`],
    ] as const) {
      const result = await cli.run('run', '--quiet', ...byFlags({ to: alias }), ...force);
      expectError(result, exitCode, message);
    }
    expect(await readdir(inside)).toEqual(['file']);
    await must('umount', alias);
    await expectNothingDone();
  });
});

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'a command line that is wrong', () => {
  it.each([{ source: '' }, { to: '' }])(
    'names nothing, which is not the working directory: %j',
    async (empty) => {
      const flag = 'to' in empty ? '--to' : '--source';
      await expectRefusal(byFlags(empty), 2, `${flag} names no directory`);
    },
  );

  it('asks for a backup in a directory that is missing', async () => {
    const missing = path.join(disks.directory, 'missing');
    const { exitCode, stderr } = await cli.run('restore', 'srv', '--from', missing, '--to', target);
    expect(stderr).toMatch(/^Error: the backups in .* cannot be listed: there is no such directory\n.*\n$/);
    expect(exitCode).toBe(2);
    await expectNothingDone();
  });
});

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'a target that cannot be used', () => {
  it('is not the filesystem it was', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const first = await cli.run('run', '--quiet', ...byFlags({ to: disk.mountpoint }));
    expect(first.exitCode, first.stderr).toBe(0);
    await must('umount', disk.mountpoint);
    const to = byFlags({ to: disk.mountpoint });
    await expectRefusal(to, 2, `${disk.mountpoint} is not the filesystem it was`);
    expect(await readdir(disk.mountpoint)).toEqual([]);
  });

  it('is not mounted, where the configuration asks for a mountpoint', async () => {
    await configure({ targets: [{ path: target, mustBeMountpoint: true }] });
    await expectRefusal(
      ['--config', config],
      2,
      `${config}:7:9: jobs.srv.targets[0]: ${target} is not a mountpoint`,
    );
  });

  it.each(['ext4', 'xfs'] as const)('is without room: a full %s', async (fstype) => {
    const disk = await disks.filesystem({ fstype, sizeMiB: fstype === 'xfs' ? 320 : 64 });
    await must('sh', '-c', 'head -c 400M /dev/zero > "$1/filler" || true', 'sh', disk.mountpoint);
    const before = await readdir(disk.mountpoint);
    await expectRefusal(
      byFlags({ to: disk.mountpoint }),
      2,
      `${disk.mountpoint} has no room for a backup: less than 1 %`,
    );
    expect(await readdir(disk.mountpoint)).toEqual(before);
  });

  it('fills up during the copy: exit 40, and what was begun is removed', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 24 });
    await must('sh', '-c', 'head -c 40M /dev/urandom > "$1"', 'sh', path.join(source.mountpoint, 'big'));
    const result = await cli.run('run', '--quiet', ...byFlags({ to: disk.mountpoint }));
    expectError(result, 40, 'the copy failed: ');
    expect(result.stderr).toContain('No space left on device');
    expect(await readdir(path.join(disk.mountpoint, 'srv'))).toEqual([]);
    await rm(path.join(source.mountpoint, 'big'));
    await expectNothingDone();
  });
});

/** Runs what follows in a mount namespace in which a directory of programs lacks one: $1 directory, $2 upper, $3 work. */
const WITHOUT_PROGRAM =
  'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$1"; shift 3; exec "$@"';

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], 'a host that lacks something', () => {
  it('has no rsync', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const [upper, work] = [path.join(disk.mountpoint, 'upper'), path.join(disk.mountpoint, 'work')];
    await mkdir(upper);
    await mkdir(work);
    // A whiteout of overlayfs.
    await must('mknod', path.join(upper, 'rsync'), 'c', '0', '0');
    const programs = path.dirname(await realpath(await must('sh', '-c', 'command -v rsync')));
    const wrapper = ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', WITHOUT_PROGRAM, 'sh'];
    await expectRefusal(byFlags(), 2, 'rsync is not installed', [...wrapper, programs, upper, work]);
  });

  it('lets no more files be open', async () => {
    // How many are too few depends on how much is done at the same time.
    const withLimit = (files: number) => cli.runUnder(['prlimit', `--nofile=${files}`], 'plan', ...byFlags());
    let files = 28;
    let result = await withLimit(files);
    while (result.exitCode === 0) result = await withLimit((files -= 1));
    expect(result.stderr).toMatch(/^Error: .*EMFILE/);
    expect(result.stderr).toContain('ulimit -n');
    expect(result.exitCode).toBe(1);
  });

  it.each([
    [
      'an unprivileged user',
      // Who may read the checkout wherever it lies.
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '--inh-caps=+dac_read_search',
        '--ambient-caps=+dac_read_search',
      ],
    ],
    ['root without capabilities', ['--bounding-set=-all', '--inh-caps=-all']],
  ])('gives no permission: %s', async (_, flags) => {
    const said = 'a snapshot of a live filesystem needs root with CAP_SYS_ADMIN';
    await expectRefusal(byFlags(), 2, said, ['setpriv', ...flags]);
    const { exitCode, stderr } = await cli.runUnder(['setpriv', ...flags], 'plan', ...byFlags());
    expect(stderr).toContain(said);
    expect(exitCode).toBe(2);
    // Not even a directory of ours was made.
    expect(await readdir(disks.directory)).not.toContain('run');
  });

  it('gives an unprivileged user no place for locks', async () => {
    const user = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=+dac_read_search'];
    await expectRefusal(
      [...byFlags(), '--snapshot', 'none'],
      2,
      `cannot make the lock ${path.join(disks.directory, 'run/locks/job-srv.lock')}: EACCES`,
      ['setpriv', ...user, '--ambient-caps=+dac_read_search'],
    );
  });

  it('cannot snapshot a tmpfs: refused with what would help, or copied live when that is said', async () => {
    const memory = path.join(disks.directory, 'memory');
    await mkdir(memory);
    await must('mount', '-t', 'tmpfs', 'none', memory);
    await writeFile(path.join(memory, 'file'), 'content');
    const args = byFlags({ source: memory });
    const refused = await cli.run('run', '--quiet', ...args);
    expectError(refused, 20, `nothing can snapshot ${memory} (tmpfs on none)`);
    expect(refused.stderr).toContain('`snapshot: none` copies the live tree');
    expect(await readdir(target)).toEqual([]);
    const { value, exitCode } = await cli.runJob(...args, '--snapshot', 'none');
    expect(value).toMatchObject({
      consistency: 'none',
      sources: [{ provider: 'none', freezeMode: 'none', frozenMs: null, snapshot: null }],
      copies: [{ files: 1 }],
    });
    expect(exitCode).toBe(0);
    await must('umount', memory);
  });

  it('is at work on the same job: a run beside a run', async () => {
    await configure({
      targets: [target],
      sources: [
        {
          path: source.mountpoint,
          snapshot: 'command',
          freezeMode: 'atomic',
          commands: { create: ['sleep', '600'], expose: ['true', '{directory}'], remove: ['true'] },
        },
      ],
    });
    const first = cli.start('run', '--config', config);
    await cli.journalled('snapshot', first);
    const held = await cli.journalEntries();
    const second = await cli.run('run', '--quiet', '--config', config);
    expectError(second, 11, 'the job srv is in use by process ');
    expect(second.stderr).toContain(`(fsbackup run --config ${config})`);
    expect(await cli.journalEntries()).toEqual(held);
    expect(first.hasEnded, first.output).toBe(false);
    first.kill('SIGTERM');
    expect(await first.ended(), first.output).toBe(143);
    await expectNothingDone();
  });
});
