import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SnapshotCommands } from '../../src/config/types.js';
import { describeNeeding } from '../support/capabilities.js';
import { findProcesses } from '../support/find-processes.js';
import { eventually } from '../support/freeze-harness.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { arrayCommands } from '../support/snapshot-worlds.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';

/** In which a `recover` that did not wait for the snapshot would have ended, mostly. */
const RECOVER_MS = 1500;

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:rsync'],
  'a snapshot that is made when its run is dead',
  () => {
    const disks = new ThrowawayDisks();
    let cli: FsbackupCli;
    let store: string;
    let begun: string;
    let told: string;
    let config: string;
    let srv: string;

    beforeEach(async () => {
      cli = new FsbackupCli(disks.directory);
      const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
      const { mountpoint } = await disks.filesystem({ fstype: 'ext4', on: outer });
      srv = mountpoint;
      store = path.join(outer.mountpoint, 'store');
      begun = path.join(disks.directory, 'begun');
      told = path.join(disks.directory, 'told');
      await mkdir(store);
      await mkdir(path.join(disks.directory, 'backups'));
    });

    afterEach(async () => {
      await disks.dispose();
    });

    /** A job whose snapshots wait until they are told, frozen by us or not. What waits goes away with the test, however that ends. */
    async function slowJob(freezeMode: 'explicit' | 'atomic'): Promise<void> {
      const array: SnapshotCommands = arrayCommands(store);
      const wait = `while [ -d ${disks.directory} ] && ! [ -e ${told} ]; do sleep 0.1; done`;
      const slow = `touch ${begun}; ${wait}; exec "$@"`;
      const commands = { ...array, create: ['sh', '-c', slow, 'sh', ...array.create] };
      const source = { path: srv, snapshot: 'command', freezeMode, commands };
      const jobs = {
        srv: {
          sources: [source],
          targets: [path.join(disks.directory, 'backups')],
          attempts: 1,
          freeze: { timeout: '100s', maxHold: '100s' },
        },
      };
      config = path.join(disks.directory, 'config.yaml');
      await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    }

    /** A run in the middle of its snapshot. */
    async function making(): Promise<StartedCli> {
      const started = cli.start('run', 'srv', '--config', config);
      await eventually('the snapshot to be begun', () => {
        if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
        return existsSync(begun);
      });
      return started;
    }

    async function stored(): Promise<string[]> {
      return (await readdir(store)).filter((name) => name !== 'log');
    }

    async function makers(): Promise<number[]> {
      const found = await Promise.all(['sh', 'sleep', 'cp'].map((name) => findProcesses(name, store)));
      return found.flat();
    }

    it.each(['explicit', 'atomic'] as const)(
      'is released by recover, and does not come later (%s)',
      async (freezeMode) => {
        await slowJob(freezeMode);
        const started = await making();
        started.kill('SIGKILL');
        expect(await started.ended()).toBe('SIGKILL');
        expect(await makers()).not.toEqual([]);

        const recovering = cli.recover();
        await Promise.race([recovering, sleep(RECOVER_MS)]);
        await writeFile(told, '');
        const { exitCode, value } = await recovering;
        expect(value.failed).toEqual([]);
        expect(exitCode).toBe(0);
        expect(value.released).toMatchObject([{ kind: 'snapshot' }]);
        expect(await stored()).toEqual([]);
        // Nobody is left who would make it later.
        expect(await makers()).toEqual([]);
        expect(await cli.journalEntries()).toEqual([]);
        expect((await cli.recover()).value.released).toEqual([]);
        expect(await stored()).toEqual([]);
      },
    );

    it('is released by the next run', async () => {
      await slowJob('explicit');
      const started = await making();
      started.kill('SIGKILL');
      await started.ended();
      const running = cli.runJob('srv', '--config', config);
      await Promise.race([running, sleep(RECOVER_MS)]);
      await writeFile(told, '');
      const { value, stderr } = await running;
      expect(value.copies, stderr).toHaveLength(1);
      expect(await makers()).toEqual([]);
      expect(await stored()).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
    });

    it('is no matter of recover while its run lives', async () => {
      await slowJob('explicit');
      const started = await making();
      const { stdout } = await cli.run('status', '--json');
      expect(JSON.parse(stdout)).toMatchObject({
        running: [{ job: 'srv', command: expect.stringContaining('run srv') as string }],
        leftBehind: [],
      });
      const { value } = await cli.recover();
      await writeFile(told, '');
      expect(value.released).toEqual([]);
      expect(value.leftAlone).toMatchObject([{ kind: 'snapshot' }]);
      expect(await started.ended(), started.output).toBe(0);
    });
  },
);

describeNeeding(['root', 'loop', 'ext4', 'program:rsync'], 'an application whose run is dead', () => {
  const disks = new ThrowawayDisks();
  let cli: FsbackupCli;
  let config: string;
  let inDirectory: (name: string) => string;

  beforeEach(async () => {
    cli = new FsbackupCli(disks.directory);
    inDirectory = (name) => path.join(disks.directory, name);
    config = inDirectory('config.yaml');
    for (const name of ['backups', 'others']) await mkdir(inDirectory(name));
  });

  afterEach(async () => {
    await disks.dispose();
  });

  /** Waits until told, or until the test is over. */
  const wait = (): string => `while [ -d ${disks.directory} ] && ! [ -e told ]; do sleep 0.1; done`;

  const release = 'rm -f at-rest; echo >>released';

  /** A run, killed once `begun` is there. The commands work in the test's directory. */
  async function killedRun(before: string, create: string, after = release): Promise<void> {
    const { mountpoint } = await disks.filesystem({ fstype: 'ext4' });
    const sh = (script: string): string[] => ['sh', '-c', `cd ${disks.directory} || exit; ${script}`];
    const commands = { create: sh(create), expose: ['false', '{directory}'], remove: ['true'] };
    const jobs = {
      srv: {
        sources: [{ path: mountpoint, snapshot: 'command', freezeMode: 'atomic', commands }],
        targets: [inDirectory('backups')],
        quiesce: [{ name: 'db', before: sh(before), after: sh(after) }],
      },
      other: { sources: [{ path: mountpoint, snapshot: 'none' }], targets: [inDirectory('others')] },
    };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const started = cli.start('run', 'srv', '--config', config);
    await eventually('the command to be begun', () => {
      if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
      return existsSync(inDirectory('begun'));
    });
    started.kill('SIGKILL');
    expect(await started.ended()).toBe('SIGKILL');
  }

  it('is let go when the command that was to bring it to rest has ended, and comes to rest no more', async () => {
    await killedRun(`touch begun; ${wait()}; touch at-rest`, 'true');
    const recovering = cli.recover();
    await Promise.race([recovering, sleep(RECOVER_MS)]);
    expect(existsSync(inDirectory('released'))).toBe(false);
    await writeFile(inDirectory('told'), '');
    const { exitCode, value } = await recovering;
    expect(value).toMatchObject({ released: [{ kind: 'quiesce' }], failed: [] });
    expect(exitCode).toBe(0);
    expect(await findProcesses('sh', disks.directory)).toEqual([]);
    expect(existsSync(inDirectory('released'))).toBe(true);
    expect(existsSync(inDirectory('at-rest'))).toBe(false);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('is let go at once where it was at rest, and what its command was to leave running stays', async () => {
    const stays = `( ${wait()} ) >/dev/null 2>&1 & touch at-rest`;
    await killedRun(stays, `touch begun; ${wait()}`);
    const { stdout } = await cli.run('status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      running: [],
      leftBehind: [
        { kind: 'quiesce', what: 'application db', job: 'srv' },
        { kind: 'snapshot', job: 'srv' },
      ],
    });
    const recovering = cli.recover();
    await eventually('it to be let go', () => existsSync(inDirectory('released')));
    // What makes the snapshot is waited for meanwhile.
    expect(await findProcesses('sh', 'FSBACKUP_SNAPSHOT_', disks.directory)).not.toEqual([]);
    // The one that was to stay; the one that let it go ends.
    await eventually(
      'one alone to be left',
      async () => (await findProcesses('sh', 'FSBACKUP_QUIESCE', disks.directory)).length === 1,
    );
    await writeFile(inDirectory('told'), '');
    expect((await recovering).value.failed).toEqual([]);
    const after = JSON.parse((await cli.run('status', '--json')).stdout) as unknown;
    expect(after).toMatchObject({ leftBehind: [], runs: [{ job: 'srv', outcome: 'killed', exitCode: 1 }] });
  });

  it('is let go by a run of another job, which can be interrupted; one of its own job waits for that', async () => {
    // It fails: what its run is to do is only to let the application go.
    const create = `[ -e begun ] && exit 1; touch begun; sleep 1000`;
    await killedRun('true', create, `touch releasing; ${wait()}; ${release}`);
    for (const pid of await findProcesses('sleep', 'FSBACKUP_SNAPSHOT_', disks.directory))
      process.kill(pid, 'SIGKILL');
    const other = cli.start('run', 'other', '--config', config);
    await eventually('it to be let go', () => existsSync(inDirectory('releasing')));
    const own = cli.start('run', 'srv', '--config', config);
    other.kill('SIGTERM');
    await sleep(2000);
    expect(own.hasEnded, own.output).toBe(false);
    await writeFile(inDirectory('told'), '');
    expect(await other.ended(), other.output).toBe(143);
    expect(await own.ended(), own.output).toBe(30);
    expect(await cli.journalEntries()).toEqual([]);
    expect(await readdir(inDirectory('others'))).toEqual([]);
  });
});
