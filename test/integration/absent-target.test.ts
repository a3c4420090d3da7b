import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { locateTarget } from '../../src/copy/target/locate-target.js';
import { rememberFilesystem } from '../../src/copy/target/target-identity.js';
import { makeBackup } from '../support/backups.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const FIRST = '20261119T010000Z-aaaaaa';

/** A disk that is not mounted is an empty directory: what is in it is not what there is. */
describeNeeding(['root'], 'a target that is not there', () => {
  let directory: string;
  let there: string;
  let absent: string;
  let config: string;
  let cli: FsbackupCli;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'absent-'));
    [there, absent] = [path.join(directory, 'there'), path.join(directory, 'absent')];
    const source = path.join(directory, 'srv');
    for (const one of [there, absent, source]) await mkdir(one);
    await makeBackup({ target: there, job: 'srv', backupId: FIRST });
    config = path.join(directory, 'config.yaml');
    await writeFile(
      config,
      `version: 1
jobs:
  srv:
    sources: [{ path: ${source}, snapshot: none }]
    targets:
      - { path: ${absent}, mustBeMountpoint: true }
      - ${there}
    keep: { last: 1 }
`,
    );
    cli = new FsbackupCli(directory);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('is told by a listing, beside the backups in the others, and makes it exit 3', async () => {
    const listed = await cli.run('backups', 'list', '--config', config);
    expect([listed.exitCode, listed.stderr]).toEqual([3, '']);
    expect(listed.stdout).toContain(`srv@${FIRST}`);
    expect(listed.stdout).toContain(`${absent}\nNOT THERE: ${absent} is not a mountpoint`);
    expect(listed.stdout).not.toContain('no backups');

    const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      backups: [{ target: there, backupId: FIRST }],
      absent: [{ target: absent, hint: `Mount the backup disk: mount ${absent}` }],
    });

    await rm(absent, { recursive: true });
    const gone = await cli.run('backups', 'list', '--config', config);
    expect([gone.exitCode, gone.stdout]).toEqual([3, expect.stringContaining(`${absent} does not exist`)]);
    expect(gone.stdout).toContain(`srv@${FIRST}`);
  });

  it('is told to who looks for the latest backup', async () => {
    const shown = await cli.run('backups', 'show', 'srv', '--config', config);
    expect([shown.exitCode, shown.stdout]).toEqual([0, expect.stringContaining(FIRST)]);
    expect(shown.stderr).toContain(`Warning: ${absent} is not a mountpoint`);
  });

  it('is not pruned, and the others are', async () => {
    await makeBackup({ target: absent, job: 'srv', backupId: FIRST });
    const pruned = await cli.run('backups', 'prune', '--config', config, '--dry-run');
    expect([pruned.exitCode, pruned.stdout]).toEqual([3, expect.stringContaining('srv: 1 kept')]);
    expect(pruned.stdout).not.toContain(absent);
    expect(pruned.stderr).toContain(`nothing of srv is pruned in ${absent}`);
    const { exitCode, stdout } = await cli.run('backups', 'prune', '--config', config, '--json');
    const warnings = [expect.stringContaining(`nothing of srv is pruned in ${absent}`) as string];
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([3, { warnings }]);
  });

  it('is told by a plan, which exits as the run will', async () => {
    const planned = await cli.run('plan', '--config', config);
    expect(planned.exitCode, planned.stderr).toBe(2);
    expect(planned.stdout).toContain(`No backup could be made in:\n  ${absent} by rsync: ${config}:6:9:`);
    expect(planned.stdout).not.toContain(`to ${absent} by rsync`);
    const run = await cli.run('run', '--config', config, '--json');
    expect(run.exitCode).toBe(planned.exitCode);
  });
});

describeNeeding(['root'], 'a directory within a target', () => {
  it('is none, and the target is named', async () => {
    const directory = await realpath(await mkdtemp(path.join(os.tmpdir(), 'within-target-')));
    try {
      const [target, inside] = [path.join(directory, 'backups'), new FsbackupCli(directory)];
      await mkdir(target);
      await makeBackup({ target, job: 'srv', backupId: FIRST });
      for (const from of [path.join(target, 'srv'), path.join(target, 'srv', FIRST)]) {
        const listed = await inside.run('backups', 'list', '--from', from);
        expect([listed.exitCode, listed.stdout]).toEqual([2, '']);
        expect(listed.stderr).toBe(
          `Error: ${from} is a directory within a target\nName the target itself: --from ${target}\n`,
        );
      }
      expect((await inside.run('backups', 'list', '--from', target)).stdout).toContain(FIRST);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describeNeeding(['root', 'loop', 'ext4'], 'a disk that a command line names', () => {
  const disks = throwawayDisks(afterAll);

  it('and that is not mounted is told by a listing, exit 3, and to who restores', async () => {
    const [disk, cli] = [await disks.filesystem({ fstype: 'ext4' }), new FsbackupCli(disks.directory)];
    await rememberFilesystem(
      { job: 'srv', target: disk.mountpoint },
      (await locateTarget({ path: disk.mountpoint, mustBeMountpoint: false }, [])).identity,
      path.join(disks.directory, 'state'),
    );
    await makeBackup({ target: disk.mountpoint, job: 'srv', backupId: FIRST });
    const list = ['backups', 'list', '--from', disk.mountpoint];
    expect((await cli.run(...list)).exitCode).toBe(0);
    await must('umount', disk.mountpoint);
    for (const args of [list, [...list, 'srv']]) {
      const { exitCode, stdout } = await cli.run(...args);
      expect([exitCode, stdout]).toEqual([3, expect.stringContaining('NOT THERE: ')]);
      expect(stdout).toContain('is not the filesystem it was');
    }
    const out = path.join(disks.directory, 'out');
    const restored = await cli.run('restore', 'srv', '--from', disk.mountpoint, '--to', out);
    expect([restored.exitCode, restored.stderr]).toEqual([
      2,
      expect.stringContaining('is not the filesystem it was'),
    ]);
  });
});

describeNeeding(['root', 'loop', 'ext4', 'program:debugfs'], 'a job whose directory cannot be read', () => {
  const disks = throwawayDisks(afterAll);

  it('is told by a listing, and makes it exit 3, whether or not there are others', async () => {
    const disk = await disks.filesystem({ fstype: 'ext4' });
    const [target, cli] = [disk.mountpoint, new FsbackupCli(disks.directory)];
    for (const job of ['alpha', 'beta']) await makeBackup({ target, job, backupId: FIRST });
    const spoil = `
    size=$(stat --file-system --format=%S "$2")
    umount "$2"
    block=$(debugfs -R 'blocks /beta' "$1")
    dd if=/dev/urandom of="$1" bs="$size" seek="$((block))" count=1 conv=notrunc status=none`;
    await must('bash', '-ec', spoil, 'bash', disk.image, target);
    await must('mount', disk.device, target);

    const listed = await cli.run('backups', 'list', '--from', target);
    expect(listed.exitCode, listed.stderr).toBe(3);
    expect(listed.stdout).toContain(`alpha@${FIRST}`);
    expect(listed.stdout).toContain('UNREADABLE: the backups of beta cannot be listed: ');
    const json = await cli.run('backups', 'list', '--from', target, '--json');
    expect([json.exitCode, JSON.parse(json.stdout)]).toMatchObject([
      3,
      { backups: [{ job: 'alpha' }], unreadable: [{ target, job: 'beta' }] },
    ]);
    expect((await cli.run('backups', 'list', 'alpha', '--from', target)).exitCode).toBe(0);
    const alone = await cli.run('backups', 'list', 'beta', '--from', target);
    expect([alone.exitCode, alone.stdout]).toEqual([3, expect.stringContaining('UNREADABLE')]);
    expect(alone.stdout).not.toContain('no backups');
  });
});
