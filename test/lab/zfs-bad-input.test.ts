import { randomBytes } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { runCommand } from '../../src/system/run-command.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { describeInLab } from '../support/lab.js';
import { LabPool } from '../support/lab-pool.js';
import { must } from '../support/throwaway-filesystem.js';

const DEVICE = 'lab-failing';
const SECTORS = String((1024 * 1024 * 1024) / 512);

/** Has all reads and writes of the device fail from now on, or go to the disk again. */
async function loadTable(table: string): Promise<void> {
  await must('dmsetup', 'suspend', '--noflush', '--nolockfs', DEVICE);
  await must('dmsetup', 'load', DEVICE, '--table', table);
  await must('dmsetup', 'resume', DEVICE);
}

describeInLab({ zfs: true }, 'bad input to ZFS', ({ disks }) => {
  const [disk = ''] = disks;
  const working = `0 ${SECTORS} linear ${disk} 0`;
  let pool: LabPool;
  let cli: FsbackupCli;
  let target: string;
  let srv: string;

  beforeEach(async () => {
    await must('dmsetup', 'create', DEVICE, '--table', working);
    pool = await LabPool.make('lab-bad', [`/dev/mapper/${DEVICE}`]);
    cli = new FsbackupCli(pool.directory);
    target = path.join(pool.directory, 'backups');
    await mkdir(target);
    srv = await pool.dataset('srv');
    await writeFile(path.join(srv, 'file'), 'x'.repeat(1_000_000));
  });

  afterEach(async () => {
    await pool.dispose();
    await must('dmsetup', 'remove', '--retry', DEVICE);
  });

  async function suspendPool(): Promise<void> {
    await loadTable(`0 ${SECTORS} error`);
    // Something must be written for ZFS to notice; whoever writes it waits.
    void runCommand(['zpool', 'sync', pool.pool]);
    void runCommand(['dd', 'if=/dev/zero', `of=${path.join(srv, 'lost')}`, 'bs=1M', 'count=4', 'conv=fsync']);
    for (let round = 0; round < 300; round += 1) {
      if ((await must('zpool', 'list', '-H', '-o', 'health', pool.pool)) === 'SUSPENDED') return;
      await must('sleep', '0.1');
    }
    throw new Error('the pool is not suspended');
  }

  async function resumePool(): Promise<void> {
    await loadTable(working);
    await must('zpool', 'clear', pool.pool);
  }

  function run(...sources: string[]) {
    return cli.runJob('--job', 'srv', ...sources.flatMap((source) => ['--source', source]), '--to', target);
  }

  it('is refused while its pool is suspended, and a snapshot of it counts as lost', async () => {
    const { filesystem } = await readFilesystemFacts(srv, { readZfs: true });
    const provider = providerByName('zfs');
    const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-lab-0', freezeMode: 'atomic' }]);
    if (ref === undefined) throw new Error('nothing was prepared');
    await provider.create([ref], { signal: new AbortController().signal });
    await expect(provider.checkIntact(ref)).resolves.toBeUndefined();
    await suspendPool();
    try {
      const { exitCode, value } = await run(srv);
      expect({ exitCode, error: value.error }).toMatchObject({
        exitCode: 20,
        error: { message: expect.stringContaining(`its pool ${pool.pool} is SUSPENDED`) },
      });
      expect(value.error?.hint).toContain(`zpool clear ${pool.pool}`);
      await expect(provider.checkIntact(ref)).rejects.toMatchObject({ code: 'snapshotInvalid' });
      await expect(provider.remove(ref)).rejects.toMatchObject({ code: 'cleanupIncomplete' });
    } finally {
      await resumePool();
    }
    expect(await provider.exists(ref)).toBe(true);
    await provider.remove(ref);
    expect(await provider.exists(ref)).toBe(false);
    expect((await run(srv)).exitCode).toBe(0);
  });

  it('is refused when its pool was exported: what is left is no filesystem of its own', async () => {
    await must('zpool', 'export', pool.pool);
    await mkdir(srv, { recursive: true });
    const { exitCode, value } = await run(srv);
    expect({ exitCode, copies: value.copies }).toEqual({ exitCode: 20, copies: [] });
    await must('rmdir', srv);
    await must('zpool', 'import', '-d', '/dev/mapper', pool.pool);
  });

  it('is refused where the programs of ZFS are not installed', async () => {
    await rename('/usr/sbin/zpool', '/usr/sbin/zpool.away');
    try {
      const { exitCode, value } = await run(srv);
      expect(exitCode).toBe(20);
      expect(value.error?.message).toContain('zpool is not installed');
      expect(value.error?.message).toContain(`${srv} (zfs on ${pool.pool}/srv)`);
      expect(value.error?.hint).toContain('zfsutils-linux');
    } finally {
      await rename('/usr/sbin/zpool.away', '/usr/sbin/zpool');
    }
  });

  it('is refused for a snapshot of a snapshot, by either way to it', async () => {
    await must('zfs', 'snapshot', `${pool.pool}/srv@monday`);
    const mounted = path.join(pool.directory, 'monday');
    await mkdir(mounted);
    await must('mount', '-t', 'zfs', `${pool.pool}/srv@monday`, mounted);
    for (const source of [mounted, path.join(srv, '.zfs/snapshot/monday')]) {
      const { exitCode, value } = await run(source);
      expect(exitCode).toBe(20);
      expect(value.error?.message).toContain('no snapshot of a snapshot');
      expect(value.error?.hint).toContain(`what ${pool.pool}/srv is mounted at`);
    }
  });

  it('is refused when a refreservation leaves no room, before anything is frozen', async () => {
    const vol = await pool.mountedZvol('vol', 'ext4');
    await must('zfs', 'set', 'refreservation=auto', `${pool.pool}/vol`);
    await writeFile(path.join(vol, 'file'), randomBytes(60 * 1024 * 1024));
    await must('sync', '-f', vol);
    await must('zpool', 'sync', pool.pool);
    const available = await must('zfs', 'list', '-H', '-p', '-o', 'available', pool.pool);
    const reserved = Number(available) - 40 * 1024 * 1024;
    await must('zfs', 'create', '-o', `refreservation=${reserved}`, `${pool.pool}/greedy`);
    const { exitCode, value } = await run(vol);
    expect(exitCode).toBe(30);
    expect(value.error?.message).toContain(`room for a snapshot of ${pool.pool}/vol`);
    expect(value.steps.map(({ step }) => step)).not.toContain('freeze');
    // ZFS itself says the same: the sum is right.
    expect((await runCommand(['zfs', 'snapshot', `${pool.pool}/vol@x`])).stderr).toContain('out of space');
  });

  it('keeps what others cloned or hold, names it, and removes its own when they let go', async () => {
    const { filesystem } = await readFilesystemFacts(srv, { readZfs: true });
    const provider = providerByName('zfs');
    const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-lab-0', freezeMode: 'atomic' }]);
    if (ref === undefined) throw new Error('nothing was prepared');
    await provider.create([ref], { signal: new AbortController().signal });
    const snapshot = `${pool.pool}/srv@fsbackup-lab-0`;
    await must('zfs', 'clone', snapshot, `${pool.pool}/theirs`);
    await must('zfs', 'hold', 'theirs', snapshot);
    await expect(provider.remove(ref)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      hint: expect.stringContaining(`${pool.pool}/theirs`),
    });
    await must('zfs', 'destroy', `${pool.pool}/theirs`);
    await expect(provider.remove(ref)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      hint: expect.stringContaining('zfs release'),
    });
    await must('zfs', 'release', 'theirs', snapshot);
    // A dataset that was renamed meanwhile takes its snapshots along.
    await must('zfs', 'rename', `${pool.pool}/srv`, `${pool.pool}/renamed`);
    expect(await provider.exists(ref)).toBe(true);
    await provider.remove(ref);
    expect(await provider.exists(ref)).toBe(false);
  });

  it('leaves a snapshot of that name alone which it did not make', async () => {
    const { filesystem } = await readFilesystemFacts(srv, { readZfs: true });
    const provider = providerByName('zfs');
    const [ref] = await provider.prepare([{ filesystem, name: 'fsbackup-lab-0', freezeMode: 'atomic' }]);
    if (ref === undefined) throw new Error('nothing was prepared');
    // Also where the mark is there, and inherited: set by somebody on the dataset.
    await must('zfs', 'set', 'fsbackup:run=fsbackup-lab', `${pool.pool}/srv`);
    await must('zfs', 'snapshot', `${pool.pool}/srv@fsbackup-lab-0`);
    await provider.remove(ref);
    expect(await must('zfs', 'list', '-H', '-o', 'name', `${pool.pool}/srv@fsbackup-lab-0`)).not.toBe('');
  });
});
