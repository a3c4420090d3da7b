import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import { createTarCommandEngine } from '../../src/copy/command/tar-command-engine.js';
import type { CopyEngine } from '../../src/copy/engine.js';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import { createRsyncRemoteEngine } from '../../src/copy/rsync-remote/rsync-remote-engine.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import { describeNeeding, type Capability } from '../support/capabilities.js';
import { compareTrees } from '../support/compare-trees.js';
import { copyRequest, LONG_MS, restoreRequest } from '../support/engine-requests.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import {
  borgRepository,
  resticRepository,
  runTool,
  sshTarget,
  tarCommandTarget,
} from '../support/repositories.js';
import { SendHarness, type SendWorld } from '../support/send-harness.js';
import { btrfsSendWorld, reflinkImageWorld } from '../support/send-worlds.js';
import { SshServer } from '../support/ssh-server.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const MIB = 2 ** 20;
const RATE = 2 * MIB;
/** What cannot be packed or found twice. */
const BYTES = 4 * MIB;
/** It takes two seconds: this is what is asked for, lest a first burst be a failure. */
const AT_LEAST_MS = 1200;

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const begun = performance.now();
  const result = await work();
  return { result, ms: performance.now() - begun };
}

const ENGINES: readonly Capability[] = ['rsync', 'zstd', 'restic', 'borg', 'ssh-keygen'].map(
  (name) => `program:${name}` as const,
);

describeNeeding(['root', 'loop', 'ext4', 'xfs', ...ENGINES], 'the limit of a target', () => {
  const disks = throwawayDisks(afterAll);
  let ssh: SshServer;
  let source: string;

  beforeAll(async () => {
    ssh = await SshServer.start(path.join(disks.directory, 'ssh'));
    source = path.join(disks.directory, 'source');
    await mkdir(source);
    await writeFile(path.join(source, 'random'), randomBytes(BYTES));
  });
  afterAll(() => ssh.stop());

  async function directory(name: string): Promise<string> {
    const made = path.join(disks.directory, name);
    await mkdir(made, { recursive: true });
    return made;
  }

  /** What programs are told of it. */
  const told = new Set<string>();
  const run: typeof runTool = (argv, options) => {
    for (const word of argv) if (/^--(?:bwlimit|limit-upload|upload-ratelimit)=/.test(word)) told.add(word);
    return runTool(argv, options);
  };
  const options: Readonly<Record<string, string>> = {
    rsync: '--bwlimit=2048',
    'rsync over ssh': '--bwlimit=2048',
    restic: '--limit-upload=2048',
    'borg over ssh': '--upload-ratelimit=2048',
  };
  const engines: Record<string, (place: string) => CopyEngine> = {
    rsync: () => createRsyncEngine(run),
    'rsync over ssh': (place) => createRsyncRemoteEngine(sshTarget(ssh, path.join(place, 'there')), run),
    tar: () => createTarEngine(),
    'tar by commands': (place) => createTarCommandEngine(tarCommandTarget(path.join(place, 'there'))),
    restic: (place) => {
      const { target } = resticRepository(path.join(place, 'restic'));
      return createResticEngine(target, { run, treeDirectory: path.join(place, 'tree') });
    },
    'borg over ssh': (place) => {
      const { target } = borgRepository(path.join(place, 'borg'));
      const { repository } = target;
      if (repository === undefined) throw new Error('there is no repository');
      const there = `ssh://root@127.0.0.1:${ssh.port}${path.join(place, 'borg')}`;
      const environment = { ...repository.environment, BORG_RSH: ssh.client };
      return createBorgEngine(
        { ...target, repository: { ...repository, repository: there, environment } },
        { run, treeDirectory: path.join(place, 'tree') },
      );
    },
  };

  it.each(Object.keys(engines))(
    'is held by %s, which copies all of it',
    async (name) => {
      const place = await directory(`by ${name.replaceAll(' ', '-')}`);
      const engine = engines[name]?.(place);
      told.clear();
      if (engine === undefined) throw new Error(name);
      await engine.openRepository?.({ initialise: true });
      const data = await directory(path.join(path.basename(place), 'data'));
      const sources = [{ path: '/srv', readFrom: source, exclude: [] }];
      const request = copyRequest(sources, data, {
        limitBytesPerSecond: RATE,
        digests: { file: path.join(place, 'digests.gz'), parent: undefined },
      });
      const { result, ms } = await timed(() => engine.copy(request));
      expect(result).toMatchObject({ unreadable: [] });
      expect(ms).toBeGreaterThan(AT_LEAST_MS);
      const option = options[name];
      expect([...told]).toEqual(option === undefined ? [] : [option]);
      const restored = await directory(path.join(path.basename(place), 'restored'));
      await engine.restore(restoreRequest(sources, data, restored));
      expect(await compareTrees(source, path.join(restored, 'srv'))).toEqual([]);
    },
    LONG_MS,
  );

  const worlds: Record<string, () => Promise<SendWorld>> = {
    image: () => reflinkImageWorld('ext4'),
    'btrfs-send to a btrfs': () => btrfsSendWorld('btrfs'),
    'btrfs-send to files': () => btrfsSendWorld('ext4'),
  };

  describeNeeding(['btrfs'], 'of what sends whole filesystems', () => {
    it.each(Object.keys(worlds))(
      'is held by %s, which sends all of it',
      async (name) => {
        const world = await worlds[name]?.();
        if (world === undefined) throw new Error(name);
        try {
          const harness = new SendHarness(world);
          await harness.random('large', BYTES / MIB);
          const snapshot = await world.snapshot();
          const { result, ms } = await timed(() =>
            harness.copy([snapshot.source], { limitBytesPerSecond: RATE }),
          );
          expect(ms).toBeGreaterThan(AT_LEAST_MS);
          expect(await harness.differences(result, snapshot)).toEqual([]);
          await snapshot.remove();
        } finally {
          await world.dispose();
        }
      },
      LONG_MS,
    );
  });

  describe('of a run', () => {
    it(
      'acts once the filesystem is thawed, is told, and keeps the locks for as long as it takes',
      async () => {
        const place = await directory('run');
        const storage = await disks.filesystem({ fstype: 'xfs', sizeMiB: 512 });
        const { mountpoint } = await disks.filesystem({ fstype: 'ext4', on: storage });
        await writeFile(path.join(mountpoint, 'random'), randomBytes(BYTES));
        await must('sync', '--file-system', mountpoint);
        const target = await directory('run/target');
        const config = path.join(place, 'config.yaml');
        const job = { sources: [mountpoint], targets: [{ path: target, limit: '1MiB' }] };
        await writeFile(config, JSON.stringify({ version: 1, jobs: { srv: job } }), { mode: 0o600 });
        const cli = new FsbackupCli(place);
        const plan = await cli.run('plan', '--config', config);
        expect(plan.stdout).toContain(`to ${target} by rsync, at most 1 MiB/s`);

        const running = cli.runJob('--config', config);
        // It holds its lock for four seconds: who comes meanwhile is told, and one that waits gets its turn.
        while ((await readdir(target)).length === 0) await sleep(20);
        expect((await cli.run('run', '--config', config, '--quiet')).exitCode).toBe(11);
        const waited = await cli.run('run', '--config', config, '--quiet', '--lock-wait', '60');
        const { exitCode, value: report } = await running;
        expect([exitCode, waited.exitCode]).toEqual([0, 0]);
        expect(report.copies).toMatchObject([{ limitBytesPerSecond: MIB }]);
        expect(report.copies[0]?.durationMs).toBeGreaterThan(2 * AT_LEAST_MS);
        const frozen = report.steps.filter((step) => step.frozen).map(({ step }) => step);
        expect(frozen).toEqual(['freeze', 'snapshot', 'thaw']);
        const thawed = report.steps.find(({ step }) => step === 'thaw');
        const copied = report.steps.find(({ step }) => step.startsWith('copy'));
        const thawedAt = (thawed?.startMs ?? Infinity) + (thawed?.durationMs ?? 0);
        expect(copied?.startMs).toBeGreaterThanOrEqual(thawedAt);
        const backups = (await readdir(path.join(target, 'srv'))).toSorted();
        const manifest = path.join(target, 'srv', backups[0] ?? '', 'manifest.json');
        expect(JSON.parse(await readFile(manifest, 'utf8'))).toMatchObject({
          report: { copies: [{ limitBytesPerSecond: MIB }] },
        });
      },
      LONG_MS,
    );

    it('is given by a flag, too, and refused where the engine cannot hold it', async () => {
      const place = await directory('flags');
      const cli = new FsbackupCli(place);
      const to = await directory('flags/target');
      const flags = ['--job', 'srv', '--source', source, '--snapshot', 'none', '--to'];
      const plan = await cli.run('plan', ...flags, to, '--limit', '1.5MiB', '--json');
      expect(JSON.parse(plan.stdout)).toMatchObject({ targets: [{ limitBytesPerSecond: 1.5 * MIB }] });
      const borg = ['--engine', 'borg', '--initialise', '--limit', '5MiB'];
      const refused = await cli.run('plan', ...flags, path.join(place, 'borg'), ...borg);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toMatch(/cannot have a limit: borg limits what it sends to another host/);
      expect(refused.stderr).toContain('restic');
      for (const wrong of ['0MiB', '-5MiB', '5', '5MB', '1B', '']) {
        const { exitCode, stderr } = await cli.run('plan', ...flags, to, `--limit=${wrong}`);
        expect([wrong, exitCode, stderr]).toEqual([wrong, 2, expect.stringContaining('--limit')]);
      }
    });
  });
});
