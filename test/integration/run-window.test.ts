import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, ThrowawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const disks = new ThrowawayDisks();
let cli: FsbackupCli;
let disk: ThrowawayFilesystem;
let target: string;
let log: string;

beforeEach(async () => {
  cli = new FsbackupCli(disks.directory);
  disk = await disks.filesystem({ fstype: 'ext4' });
  target = path.join(disks.directory, 'backups');
  log = path.join(disks.directory, 'log');
  await mkdir(target);
  await writeFile(path.join(disk.mountpoint, 'file'), 'content');
  await writeFile(log, '');
});

afterEach(async () => {
  await disks.dispose();
});

/** Storage that is played by commands: its "snapshot" shows the live tree. */
function job(create: readonly string[], more: object = {}) {
  return {
    sources: [
      {
        path: disk.mountpoint,
        snapshot: 'command',
        commands: {
          create,
          expose: ['mount', '--bind', '{mountpoint}', '{directory}'],
          remove: ['sh', '-c', `echo remove "$1" >> ${log}`, 'sh', '{name}'],
        },
        freezeMode: 'explicit',
      },
    ],
    targets: [{ path: target, engine: 'rsync' }],
    ...more,
  };
}

async function configure(jobs: object): Promise<string> {
  const file = path.join(disks.directory, 'config.yaml');
  await writeFile(file, stringify({ version: 1, jobs }), { mode: 0o600 });
  return file;
}

async function logged(): Promise<string[]> {
  return (await readFile(log, 'utf8'))
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '');
}

/** A write that a freeze blocks until the thaw, signals or not: nobody waits for it longer than this. */
async function isWritable(): Promise<boolean> {
  const write = runCommand(['touch', path.join(disk.mountpoint, 'probe')]);
  return await Promise.race([write.then(({ exitCode }) => exitCode === 0), sleep(1000, false)]);
}

/** What leaves a child that ignores SIGTERM and holds a lock as long as it lives, and what fails as long as somebody holds that. */
function withStubbornChild(then: string): { leaves: string[]; needs: string[] } {
  const lock = path.join(disks.directory, 'lock');
  const child = `trap "" TERM; exec 9>${lock}; flock 9; while [ -d ${disks.directory} ]; do sleep 0.1; done`;
  return {
    leaves: ['bash', '-c', `( ${child} ) & wait`],
    needs: ['flock', '--nonblock', lock, 'sh', '-c', `echo ${then} >> ${log}`],
  };
}

async function expectNothingLeft(): Promise<void> {
  expect(await isWritable()).toBe(true);
  expect((await disks.leftovers()).mountpoints).toEqual([]);
  expect(await cli.journalEntries()).toEqual([]);
}

describeNeeding(['root', 'loop', 'ext4', 'program:rsync', 'program:fsfreeze'], 'the window of a run', () => {
  it('is proved: a freeze that a third party undid is retried and then exits 21, its snapshots removed', async () => {
    const config = await configure({ srv: job(['fsfreeze', '--unfreeze', '{mountpoint}']) });
    const { exitCode, value } = await cli.runJob('srv', '--config', config);
    expect(value).toMatchObject({
      outcome: 'failed',
      consistency: 'none',
      error: { code: 'freezeLost', message: expect.stringContaining('third-party') as string },
      sources: [{ attempts: 3, snapshot: null }],
      copies: [],
    });
    expect(exitCode).toBe(21);
    expect(await logged()).toHaveLength(3);
    await expectNothingLeft();
  });

  it('ends at max-hold when the snapshot blocks on what is frozen', async () => {
    const blocked = ['sh', '-c', 'echo > "$1"/blocked', 'sh', '{mountpoint}'];
    const config = await configure({
      srv: job(blocked, { attempts: 1, freeze: { timeout: '2s', maxHold: '3s' } }),
    });
    const { exitCode, value } = await cli.runJob('srv', '--config', config);
    expect(value).toMatchObject({
      freeze: { timeoutSeconds: 2, heartbeatSeconds: 1, maxHoldSeconds: 3 },
      error: { code: 'freezeLost', message: expect.stringContaining('max-hold') as string },
    });
    expect(exitCode).toBe(21);
    await expectNothingLeft();
  });

  it('is no longer for what the snapshot command leaves running with its output open', async () => {
    const leaves = ['sh', '-c', `( while [ -d ${disks.directory} ]; do sleep 0.1; done ) & exit 0`];
    const config = await configure({ srv: job(leaves) });
    const frozenMs: number[] = [];
    // The shortest of some: a busy machine takes its time, and who waits for such output takes a second.
    for (let i = 0; i < 3; i += 1) {
      const { value, stderr } = await cli.runJob('srv', '--config', config);
      expect(value.exitCode, stderr).toBe(0);
      frozenMs.push(value.sources[0]?.frozenMs ?? Infinity);
    }
    expect(Math.min(...frozenMs)).toBeLessThan(1000);
    await expectNothingLeft();
  });

  it('is left at once on Ctrl-C: thawed, then cleaned up, then exit 130', async () => {
    const started = cli.start('run', 'srv', '--config', await configure({ srv: job(['sleep', '600']) }));
    await cli.journalled('snapshot', started);
    // From the journal to the freeze it is not far; frozen or not, the end must be the same.
    while (await isWritable()) {
      if (started.hasEnded) throw new Error(started.output);
      await sleep(5);
    }
    started.kill('SIGINT');
    expect(await started.ended(), started.output).toBe(130);
    await expectNothingLeft();
  });

  it('is left at once on Ctrl-C without a freeze too', async () => {
    const [source] = job(['sh', '-c', `echo begun >> ${log}; exec sleep 600`]).sources;
    const atomic = job([], { sources: [{ ...source, freezeMode: 'atomic' }] });
    const started = cli.start('run', 'srv', '--config', await configure({ srv: atomic }));
    while ((await logged()).length === 0) {
      if (started.hasEnded) throw new Error(started.output);
      await sleep(5);
    }
    started.kill('SIGINT');
    expect(await started.ended(), started.output).toBe(130);
    expect(await logged()).toEqual(['begun', expect.stringMatching(/^remove fsbackup-srv-/)]);
    await expectNothingLeft();
  });

  it('is not opened on what another has frozen: exit 20, and it stays frozen', async () => {
    // Since all was looked at: what was frozen before is found by the preflight.
    const quiesce = [{ name: 'another', before: ['fsfreeze', '--freeze', disk.mountpoint] }];
    const config = await configure({ srv: job(['true'], { quiesce }) });
    const { exitCode, value } = await cli.runJob('srv', '--config', config);
    expect(value).toMatchObject({ error: { code: 'notFrozen' }, sources: [{ attempts: 1, snapshot: null }] });
    expect(exitCode).toBe(20);
    // Not by us: the timeline shows the try, and no time in which we held it.
    expect(value.steps.map(({ step }) => step)).toContain('freeze');
    expect(value.steps.filter(({ step, frozen }) => frozen || step === 'thaw')).toEqual([]);
    expect(await isWritable()).toBe(false);
    await must('fsfreeze', '--unfreeze', disk.mountpoint);
    await expectNothingLeft();
  });

  it('finds the applications at rest, and they go on before the copy', async () => {
    const say = (text: string): string[] => ['sh', '-c', `echo ${text} >> ${log}`];
    const quiesce = ['db', 'web'].map((name) => ({
      name,
      before: say(`before ${name}`),
      after: say(`after ${name}`),
    }));
    const config = await configure({ srv: job(say('create'), { quiesce }) });
    const { value, stderr } = await cli.runJob('srv', '--config', config);
    expect(value, stderr).toMatchObject({ consistency: 'application', copies: [{ files: 1 }] });
    expect(await logged()).toEqual([
      'before db',
      'before web',
      'create',
      'after web',
      'after db',
      expect.stringMatching(/^remove fsbackup-srv-/),
    ]);
  });

  it('is not opened when an application cannot be brought to rest, and that one goes on too', async () => {
    const hook = { name: 'db', before: ['false'], after: ['sh', '-c', `echo after >> ${log}`] };
    const create = ['sh', '-c', `echo create >> ${log}`];
    const config = await configure({ srv: job(create, { quiesce: [hook] }) });
    const { exitCode, value } = await cli.runJob('srv', '--config', config);
    expect(exitCode).toBe(1);
    expect(value.error?.message).toContain('quiesce db');
    expect(await logged()).toEqual(['after']);
    await expectNothingLeft();
  });
});

describeNeeding(
  ['root', 'loop', 'ext4', 'program:rsync', 'program:flock'],
  'what a program leaves running',
  () => {
    it('is ended before what it did is undone, where a hook did not end in time', async () => {
      const { leaves, needs } = withStubbornChild('after');
      const hook = { name: 'db', before: leaves, after: needs, timeout: '3s' };
      const config = await configure({ srv: job(['true'], { quiesce: [hook] }) });
      const { exitCode, value } = await cli.runJob('srv', '--config', config);
      expect(value.error?.message).toContain('did not end in time');
      expect(await logged()).toEqual(['after']);
      expect(exitCode).toBe(1);
      await expectNothingLeft();
    });

    it('is ended before what it did is undone, where the freeze was lost', async () => {
      const { leaves, needs } = withStubbornChild('remove');
      const [source] = job([]).sources;
      const commands = { ...source?.commands, create: leaves, remove: needs };
      const config = await configure({
        srv: job([], {
          sources: [{ ...source, commands }],
          attempts: 1,
          freeze: { timeout: '3s', maxHold: '4s' },
        }),
      });
      const { exitCode, value } = await cli.runJob('srv', '--config', config);
      expect(value.error?.message).toContain('max-hold');
      expect(await logged()).toEqual(['remove']);
      expect(exitCode).toBe(21);
      await expectNothingLeft();
    });
  },
);

describeNeeding(['root', 'loop', 'ext4', 'program:rsync'], 'several jobs', () => {
  it('run one after the other, past failures, and exit with the worst', async () => {
    const config = await configure({
      good: job(['true']),
      bad: job(['false'], { attempts: 1 }),
      later: job(['true']),
    });
    const { exitCode, stdout } = await cli.run('run', '--config', config, '--json', 'bad', 'later');
    expect(exitCode).toBe(30);
    expect(JSON.parse(stdout)).toMatchObject([
      { job: 'bad', exitCode: 30, error: { code: 'snapshotFailed' } },
      { job: 'later', copies: [{ target }] },
    ]);
    const all = await cli.run('run', '--config', config, '--json');
    expect(JSON.parse(all.stdout)).toMatchObject([{ job: 'good' }, { job: 'bad' }, { job: 'later' }]);
    await expectNothingLeft();
  });

  it('are named, or it says which there are', async () => {
    const config = await configure({ good: job(['true']) });
    const { exitCode, stderr } = await cli.run('run', 'god', '--config', config);
    expect(exitCode).toBe(2);
    expect(stderr).toBe('Error: there is no job god\nDid you mean good?\n');
  });
});

describeNeeding(['root', 'loop', 'ext4'], 'a dry run', () => {
  it('shows the plan and leaves no trace', async () => {
    const config = await configure({ srv: job(['true']) });
    const { exitCode, stdout } = await cli.run('run', '--config', config, '--dry-run');
    expect(exitCode).toBe(0);
    expect(stdout).toContain(
      `${disk.mountpoint} (ext4 on ${disk.device}): snapshot by command, freeze explicit`,
    );
    for (const directory of ['run', 'state']) {
      await expect(access(path.join(disks.directory, directory))).rejects.toMatchObject({ code: 'ENOENT' });
    }
  });
});
