import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import type { RunReport } from '../../src/report/run-report.js';
import { runCommand } from '../../src/system/run-command.js';
import { eventually } from '../support/freeze-harness.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabPool } from '../support/lab-pool.js';
import { startLogWriter } from '../support/log-writer.js';
import { checkRecords, parseRecords, type FrozenWindow } from '../support/records.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';
import { describeTree, differencesOf } from '../support/tree.js';

/** From before the snapshot to after it, epoch milliseconds. */
function snapshotWindow({ startedAt, steps }: RunReport): FrozenWindow {
  const inWindow = steps.filter(({ step, frozen }) => frozen || step === 'snapshot');
  const epochMs = Date.parse(startedAt);
  return {
    startMs: epochMs + Math.min(...inWindow.map(({ startMs }) => startMs)),
    endMs: epochMs + Math.max(...inWindow.map(({ startMs, durationMs }) => startMs + durationMs)),
  };
}

describeInLab({ zfs: true }, 'a run over ZFS', ({ disks }) => {
  let pool: LabPool;
  let cli: FsbackupCli;
  let target: string;

  beforeEach(async () => {
    pool = await LabPool.make('lab-run', disks.slice(0, 1));
    cli = new FsbackupCli(pool.directory);
    target = path.join(pool.directory, 'backups');
    await mkdir(target);
  });

  afterEach(async () => {
    await pool.dispose();
  });

  async function still(mountpoint: string): Promise<void> {
    await mkdir(path.join(mountpoint, 'still'));
    await writeFile(path.join(mountpoint, 'still/file'), mountpoint.repeat(3000));
  }

  function jobOf(...sources: string[]): string[] {
    return ['--job', 'srv', ...sources.flatMap((source) => ['--source', source]), '--to', target];
  }

  /** The copy program of the dead run is busy in it for a moment. */
  async function unmountSoon(directory: string): Promise<void> {
    for (let round = 0; (await runCommand(['umount', directory])).exitCode !== 0; round += 1) {
      if (round > 100) throw new Error(`${directory} stays busy`);
      await sleep(100);
    }
  }

  it('of zvols and of a dataset with children, under writers, brings all of one instant back', async () => {
    const ext4 = await pool.mountedZvol('vol ext4', 'ext4');
    const xfs = await pool.mountedZvol('vol xfs', 'xfs');
    const srv = await pool.dataset('srv');
    const child = await pool.dataset('srv/my child');
    const all = [ext4, xfs, srv, child];
    for (const mountpoint of all) await still(mountpoint);
    const before = await pool.held();

    const writers = all.map((mountpoint) => startLogWriter(path.join(mountpoint, 'records')));
    let run;
    try {
      for (const writer of writers) await writer.acknowledged(10);
      run = await cli.runJob(...jobOf(ext4, xfs, srv), '--recursive');
      for (const writer of writers) await writer.acknowledged(writer.acknowledgements.length + 5);
    } finally {
      for (const writer of writers) await writer.stop();
    }
    expect(run.value, run.stderr).toMatchObject({
      outcome: 'success',
      consistency: 'filesystem',
      warnings: [],
    });
    expect(run.value.sources).toMatchObject([
      { mountpoint: ext4, provider: 'zfs', freezeMode: 'explicit', attempts: 1 },
      { mountpoint: xfs, provider: 'zfs', freezeMode: 'explicit', attempts: 1 },
      { mountpoint: srv, provider: 'zfs', freezeMode: 'atomic', frozenMs: null },
      { mountpoint: child, provider: 'zfs', freezeMode: 'atomic', frozenMs: null },
    ]);
    expect(await pool.held()).toEqual(before);
    expect(await cli.journalEntries()).toEqual([]);

    // One command made them all: ZFS gives them the same transaction.
    const history = await must('zpool', 'history', pool.pool);
    const commands = history.split('\n').filter((line) => line.includes('zfs snapshot'));
    expect(commands).toHaveLength(1);
    expect(commands[0]).toContain(`fsbackup:run=fsbackup-srv-${run.value.runId}`);

    const restored = path.join(pool.directory, 'restored');
    const restore = await cli.run('restore', 'srv', '--from', target, '--to', restored);
    expect(restore.exitCode, restore.stderr).toBe(0);
    const window = snapshotWindow(run.value);
    for (const [index, mountpoint] of all.entries()) {
      const acknowledgements = writers[index]?.acknowledgements ?? [];
      const text = await readFile(path.join(restored, mountpoint, 'records'), 'utf8');
      expect(checkRecords(text, acknowledgements, window), mountpoint).toEqual([]);
      expect(parseRecords(text).records.length).toBeLessThan(acknowledgements.length);
      const [live, back] = [mountpoint, path.join(restored, mountpoint)].map((root) =>
        path.join(root, 'still'),
      );
      expect(differencesOf(await describeTree(live ?? ''), await describeTree(back ?? ''))).toEqual([]);
    }

    // The origins can be unmounted, mounted again and written to.
    for (const [mountpoint, name] of [
      [ext4, 'vol+ext4'],
      [xfs, 'vol+xfs'],
    ] as const) {
      await must('umount', mountpoint);
      await must('mount', `/dev/zvol/${pool.pool}/${name}`, mountpoint);
      await writeFile(path.join(mountpoint, 'after'), 'writable again');
    }
    const datasets = [`${pool.pool}/srv`, `${pool.pool}/srv/my child`];
    for (const dataset of datasets.toReversed()) await must('zfs', 'unmount', dataset);
    expect(await readdir(srv)).toEqual([]);
    for (const dataset of datasets) await must('zfs', 'mount', dataset);
    for (const mountpoint of [srv, child]) {
      expect(await readdir(mountpoint)).toContain('records');
      await writeFile(path.join(mountpoint, 'after'), 'writable again');
    }
  });

  it.each(['snapshot', 'exposure', 'backup', 'release'] as const)(
    'that was killed at its %s leaves what recover releases, once and for all',
    async (kind) => {
      const vol = await pool.mountedZvol('vol', 'ext4');
      const srv = await pool.dataset('srv');
      for (const mountpoint of [vol, srv]) {
        await writeFile(path.join(mountpoint, 'file'), 'x'.repeat(3_000_000));
      }
      const before = await pool.held();
      const started = cli.start('run', ...jobOf(vol, srv));
      await cli.journalled(kind === 'release' ? 'backup' : kind, started);
      if (kind === 'release') await cli.noLongerJournalled('backup', started);
      started.kill('SIGKILL');
      expect(await started.ended()).toBe('SIGKILL');
      await writeFile(path.join(vol, 'written'), 'the freeze is gone');

      const recovered = await cli.recover();
      expect(recovered.exitCode, JSON.stringify(recovered.value)).toBe(0);
      expect(await pool.held()).toEqual(before);
      expect((await cli.recover()).value.released).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
    },
  );

  it('that was killed while zfs still made its snapshots leaves none that recover does not know of', async () => {
    const srv = await pool.dataset('srv');
    const before = await pool.held();
    const zfs = (await must('sh', '-c', 'command -v zfs')).trim();
    const begun = path.join(pool.directory, 'begun');
    // Found before the real one, as by a pool that is slow to write its next transaction.
    const slow = '/usr/local/sbin/zfs';
    expect(zfs).not.toBe(slow);
    onTestFinished(() => rm(slow, { force: true }));
    await writeFile(
      slow,
      `#!/bin/sh\nif [ "$1" = snapshot ]; then touch ${begun}; sleep 5; fi\nexec ${zfs} "$@"\n`,
      { mode: 0o755 },
    );
    const started = cli.start('run', ...jobOf(srv));
    await eventually('the snapshot to be begun', () => {
      if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
      return existsSync(begun);
    });
    const killedAt = performance.now();
    started.kill('SIGKILL');
    expect(await started.ended()).toBe('SIGKILL');
    const recovered = await cli.recover();
    expect(recovered.exitCode, JSON.stringify(recovered.value)).toBe(0);
    expect(recovered.value.released).toMatchObject([{ kind: 'snapshot' }]);
    expect(await pool.held()).toEqual(before);
    await sleep(Math.max(0, killedAt + 15_000 - performance.now()));
    expect(await pool.held()).toEqual(before);
  });

  it('that a reboot cut short leaves a hold, a clone and snapshots, which recover releases', async () => {
    const vol = await pool.mountedZvol('vol', 'ext4');
    const srv = await pool.dataset('srv');
    for (const mountpoint of [vol, srv])
      await writeFile(path.join(mountpoint, 'file'), 'x'.repeat(3_000_000));
    const before = await pool.held();
    const started = cli.start('run', ...jobOf(vol, srv));
    await cli.journalled('backup', started);
    started.kill('SIGKILL');
    await started.ended();
    const left = (await pool.held()).filter((line) => !before.includes(line));
    expect(left.filter((line) => line.includes('\tfsbackup\t'))).toHaveLength(2);
    expect(left.filter((line) => /\t.*@fsbackup-srv-/.test(line)).length).toBeGreaterThan(0);

    // What a reboot does: no mounts, no tmpfs, the pool imported anew.
    const { FSBACKUP_RUN_DIR } = cli.environment;
    for (const index of [0, 1]) await unmountSoon(path.join(FSBACKUP_RUN_DIR, 'mnt/srv', String(index)));
    await rm(FSBACKUP_RUN_DIR, { recursive: true });
    await must('umount', vol);
    await must('zpool', 'export', pool.pool);
    // Not imported, nothing can be removed, and nothing is taken for removed.
    const early = await cli.recover();
    expect(early.exitCode).toBe(60);
    expect(early.value.failed.map(({ message }) => message).join('\n')).toContain(`pool ${pool.pool}`);
    await must('zpool', 'import', '-d', '/dev', pool.pool);
    await must('udevadm', 'settle');
    await must('mount', `/dev/zvol/${pool.pool}/vol`, vol);

    const recovered = await cli.recover();
    expect(recovered.exitCode, JSON.stringify(recovered.value)).toBe(0);
    expect(await pool.held()).toEqual(before);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('names the children that are mounted nowhere', async () => {
    const srv = await pool.dataset('srv');
    await must('zfs', 'create', '-o', 'canmount=noauto', `${pool.pool}/srv/idle`);
    await must('zfs', 'create', '-o', 'canmount=off', `${pool.pool}/srv/holder`);
    const { exitCode, value } = await cli.runJob(...jobOf(srv), '--recursive');
    expect(exitCode).toBe(3);
    expect(value.warnings).toEqual([expect.stringContaining(`the dataset ${pool.pool}/srv/idle below`)]);
  });

  it('of a directory that is bound elsewhere shows that directory', async () => {
    const srv = await pool.dataset('srv');
    await still(srv);
    const bind = path.join(pool.directory, 'bind');
    await mkdir(bind);
    await must('mount', '--bind', path.join(srv, 'still'), bind);
    const before = await pool.held();
    const run = await cli.runJob(...jobOf(bind, srv));
    expect(run.value, run.stderr).toMatchObject({
      copies: [{ files: 2 }],
      oneInstant: true,
      sources: [{ mountpoint: srv, otherMountpoints: [bind] }],
    });
    expect(run.value.sources).toHaveLength(1);
    expect(run.value.sources[0]?.snapshot).toMatch(/-0$/);
    expect(await pool.held()).toEqual(before);
  });

  it('freezes a filesystem that holds the pool of another source in a window of its own', async () => {
    const throwaway = throwawayDisks(onTestFinished);
    const on = await throwaway.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
    const { mountpoint: data } = await throwaway.filesystem({ fstype: 'xfs', on });
    const file = path.join(data, 'pool.img');
    await must('truncate', '--size=256M', file);
    const inner = await LabPool.make('lab-inner', [file]);
    try {
      const srv = await inner.dataset('srv');
      await still(srv);
      const run = await cli.runJob(...jobOf(data, srv), '--exclude', '*.img');
      expect(run.value, run.stderr).toMatchObject({ exitCode: 3, copies: [{ files: 1 }] });
      expect(run.value.warnings).toEqual([expect.stringContaining(`not at one instant`)]);
      expect(run.value.oneInstant).toBe(false);
      expect(run.value.sources).toMatchObject([
        { freezeMode: 'explicit', attempts: 1 },
        { freezeMode: 'atomic', attempts: 1 },
      ]);
    } finally {
      await inner.dispose();
    }
  });
});
