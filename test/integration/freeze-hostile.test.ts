import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const FREEZE_THEN = fileURLToPath(new URL('../support/freeze-then.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLI = `${ROOT}bin/run.js`;

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs'], 'a freeze among enemies', () => {
  const disks = throwawayDisks(afterAll);
  let ext4: ThrowawayFilesystem;
  let xfs: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let btrfs: ThrowawayFilesystem;
  let harness: FreezeHarness;

  beforeAll(async () => {
    ext4 = await disks.filesystem({ fstype: 'ext4' });
    xfs = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: xfs, name: 'upper' });
    btrfs = await disks.filesystem({ fstype: 'btrfs' });
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  /** Collects what a child says; `until` waits for a line. */
  function listen(child: ChildProcess): { lines: string[]; until(line: RegExp): Promise<string> } {
    const lines: string[] = [];
    let partial = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        const parts = (partial + chunk).split('\n');
        partial = parts.pop() ?? '';
        lines.push(...parts);
      });
    }
    return {
      lines,
      until: (line) =>
        eventually(`${line} among [${lines.join(', ')}]`, () => lines.find((said) => line.test(said))),
    };
  }

  function freezeThen(disk: ThrowawayFilesystem, timeoutMs: number, what: 'write' | 'wait' | 'hand-over') {
    const child = harness.start(process.execPath, [
      '--import',
      `${ROOT}node_modules/tsx/dist/esm/index.mjs`,
      FREEZE_THEN,
      disk.mountpoint,
      String(timeoutMs),
      what,
    ]);
    return { child, ...listen(child) };
  }

  it('an event loop blocked by a write to the frozen filesystem is rescued at the timeout, and learns of it', async () => {
    const { child, lines, until } = freezeThen(ext4, 2000, 'write');
    await until(/^thawed/);
    expect(lines).toEqual(['armed', 'frozen', 'written', 'lost timeout', 'thawed timeout']);
    expect(await ended(child)).toBe(0);
  });

  it('a snapshot command that hangs in the kernel is freed by max-hold, heartbeat or not', async () => {
    const snapshot = `${btrfs.mountpoint}/snapshot`;
    const cli = harness.startFsbackup(
      'freeze',
      '--timeout',
      '2',
      '--max-hold',
      '4',
      btrfs.mountpoint,
      '--',
      'btrfs',
      'subvolume',
      'snapshot',
      btrfs.mountpoint,
      snapshot,
    );
    const { until } = listen(cli);
    await until(/lost while the command ran \(max-hold\)/);
    expect(await ended(cli)).toBe(21);
    // It was hanging, and not failing: once thawed it went on.
    expect(statSync(snapshot).isDirectory()).toBe(true);
    await must('btrfs', 'subvolume', 'delete', snapshot);
  });

  it.each(['SIGKILL', 'SIGINT'] as const)(
    '%s while FIFREEZE is in flight: nothing stays frozen',
    async (signal) => {
      // A lower filesystem frozen by someone else keeps the upper's FIFREEZE in the kernel.
      writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
      await must('fsfreeze', '--freeze', xfs.mountpoint);
      const { child, until, lines } = freezeThen(upper, 30_000, 'wait');
      try {
        await until(/^armed/);
        await eventually('the freeze to be in flight', async () => {
          const frozen = (await harness.status()).frozen.find(
            (entry) => entry.mountpoint === upper.mountpoint,
          );
          return frozen?.state === 'freezing';
        });
        child.kill(signal);
      } finally {
        await must('fsfreeze', '--unfreeze', xfs.mountpoint);
      }
      await harness.write(upper.mountpoint);
      expect(await ended(child)).toBe(signal === 'SIGKILL' ? 'SIGKILL' : 130);
      await harness.write(upper.mountpoint);
      expect(await harness.blocksWriters(upper.mountpoint)).toBe(false);
      expect(lines.filter((line) => line.startsWith('thawed'))).toHaveLength(signal === 'SIGKILL' ? 0 : 1);
    },
  );

  it('a deadline that passes while FIFREEZE waits for a writer, and FITHAW answers EINVAL: nothing stays frozen', async () => {
    const file = `${upper.mountpoint}/direct`;
    writeFileSync(file, 'x'.repeat(4096));
    await must('sync', '--file-system', upper.mountpoint);
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    try {
      const writer = harness.start('dd', [
        'if=/dev/zero',
        `of=${file}`,
        'bs=4096',
        'count=1',
        'oflag=direct',
        'conv=notrunc',
      ]);
      await eventually('the writer to wait for the disk', () =>
        /^State:\s*D/m.test(readFileSync(`/proc/${writer.pid ?? 0}/status`, 'utf8')),
      );
      const { child, until } = freezeThen(upper, 2000, 'wait');
      await until(/^armed/);
      await eventually('the freeze to be in flight', async () =>
        (await harness.status()).frozen.some(({ state }) => state === 'freezing'),
      );
      child.kill('SIGKILL');
      // Past the deadline: the guards' first tries must not be their last. The thread in the kernel outlives the kill.
      await sleep(3000);
    } finally {
      await must('fsfreeze', '--unfreeze', xfs.mountpoint);
    }
    await harness.write(upper.mountpoint);
    expect(await harness.blocksWriters(upper.mountpoint)).toBe(false);
  });

  it.each(['SIGHUP', 'SIGINT', 'SIGTERM'] as const)(
    '%s to the command: thaws, and exits with its code',
    async (signal) => {
      const cli = harness.startFsbackup('freeze', ext4.mountpoint, '--', 'sleep', '60');
      await harness.held(ext4.mountpoint);
      cli.kill(signal);
      expect(await ended(cli)).toBe({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal]);
      expect(await harness.blocksWriters(ext4.mountpoint)).toBe(false);
      const lost = (await harness.status()).lost.map(({ mountpoint }) => mountpoint);
      expect(lost).not.toContain(ext4.mountpoint);
    },
  );

  it('a signal to a command whose freeze was lost before does not hide that', async () => {
    const cli = harness.startFsbackup('freeze', ext4.mountpoint, '--', 'sleep', '60');
    await harness.held(ext4.mountpoint);
    await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    cli.kill('SIGTERM');
    expect(await ended(cli)).toBe(21);
    expect(await harness.blocksWriters(ext4.mountpoint)).toBe(false);
  });

  it('a thaw by someone else is told by reset and by thaw', async () => {
    await harness.fsbackup('freeze', ext4.mountpoint);
    await harness.held(ext4.mountpoint);
    await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    const reset = await harness.fsbackup('reset', ext4.mountpoint);
    expect(reset).toMatchObject({ exitCode: 21, stderr: expect.stringContaining('EINVAL') as string });
    // The question was a FIFREEZE, undone at once.
    expect(await harness.blocksWriters(ext4.mountpoint)).toBe(false);
    expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(21);
  });

  it('a reset of several tries each, and tells of all', async () => {
    for (const { mountpoint } of [ext4, upper]) {
      await harness.fsbackup('freeze', mountpoint);
      await harness.held(mountpoint);
    }
    await must('fsfreeze', '--unfreeze', ext4.mountpoint);
    const reset = await harness.fsbackup('reset', '--json', ext4.mountpoint, upper.mountpoint);
    expect(reset.exitCode).toBe(21);
    expect(JSON.parse(reset.stdout)).toMatchObject({
      reset: [{ mountpoint: upper.mountpoint }],
      errors: [expect.stringContaining(ext4.mountpoint) as unknown],
    });
    expect((await harness.fsbackup('thaw', upper.mountpoint)).exitCode).toBe(0);
    expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(21);
  });

  it('a freeze that was lost is not told of another image with the number of its loop device', async () => {
    const { mountpoint, device, image } = await disks.filesystem({ fstype: 'ext4' });
    await harness.fsbackup('freeze', mountpoint);
    await harness.held(mountpoint);
    await must('fsfreeze', '--unfreeze', mountpoint);
    expect((await harness.fsbackup('thaw', mountpoint)).exitCode).toBe(21);
    expect((await harness.fsbackup('thaw', mountpoint)).exitCode).toBe(21);
    await must('umount', mountpoint);
    await must('losetup', '--detach', device);
    await must('mkfs.ext4', '-q', '-F', image);
    await must('losetup', device, image);
    await must('mount', device, mountpoint);
    expect((await harness.fsbackup('thaw', mountpoint)).exitCode).toBe(20);
    expect((await harness.status()).lost.map((one) => one.mountpoint)).not.toContain(mountpoint);
  });

  it('a reset of what is not frozen yet is told so, and of what was thawed as asked', async () => {
    writeFileSync(`${upper.mountpoint}/dirty`, 'y'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    const { child } = freezeThen(upper, 30_000, 'hand-over');
    try {
      await eventually('the freeze to be in flight', async () =>
        (await harness.status()).frozen.some(({ state }) => state === 'freezing'),
      );
      expect(await harness.fsbackup('reset', upper.mountpoint)).toMatchObject({
        exitCode: 20,
        stderr: expect.stringContaining(`${upper.mountpoint} is not frozen yet`) as string,
      });
    } finally {
      await must('fsfreeze', '--unfreeze', xfs.mountpoint);
    }
    expect(await ended(child)).toBe(0);
    expect((await harness.fsbackup('reset', upper.mountpoint)).exitCode).toBe(0);
    expect((await harness.fsbackup('thaw', upper.mountpoint)).exitCode).toBe(0);
    expect((await harness.fsbackup('reset', upper.mountpoint)).exitCode).toBe(20);
  });

  it('a reset that names no time gives the time of the freeze anew', async () => {
    await harness.fsbackup('freeze', '--timeout', '40', ext4.mountpoint);
    await harness.held(ext4.mountpoint);
    expect((await harness.fsbackup('reset', ext4.mountpoint)).exitCode).toBe(0);
    const [frozen] = (await harness.status()).frozen;
    // The default of ten seconds would be less.
    expect(Date.parse(frozen?.expiresAt ?? '') - Date.now()).toBeGreaterThan(15_000);
    expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(0);
  });

  it('a reset gives the timeout anew, up to max-hold', async () => {
    await harness.fsbackup('freeze', '--timeout', '5', '--max-hold', '20', ext4.mountpoint);
    await harness.held(ext4.mountpoint);
    expect((await harness.fsbackup('reset', '--timeout', '60', ext4.mountpoint)).exitCode).toBe(0);
    const [frozen] = (await harness.status()).frozen;
    const left = Date.parse(frozen?.expiresAt ?? '') - Date.now();
    expect(left).toBeGreaterThan(5000);
    expect(left).toBeLessThanOrEqual(20_000);
    expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(0);
  });

  it("another's freeze is left alone, also when a command of ours beside it is killed", async () => {
    await must('fsfreeze', '--freeze', ext4.mountpoint);
    try {
      const refused = await harness.fsbackup('freeze', btrfs.mountpoint, ext4.mountpoint);
      expect(refused).toMatchObject({
        exitCode: 20,
        stderr: expect.stringContaining('already frozen') as string,
      });
      expect(await harness.blocksWriters(btrfs.mountpoint)).toBe(false);
      expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(20);
      expect((await harness.fsbackup('thaw', '--all')).exitCode).toBe(0);
      const cli = harness.startFsbackup('freeze', btrfs.mountpoint, '--', 'sleep', '60');
      await harness.held(btrfs.mountpoint);
      cli.kill('SIGKILL');
      await harness.write(btrfs.mountpoint);
      expect(await harness.blocksWriters(ext4.mountpoint)).toBe(true);
    } finally {
      expect((await harness.fsbackup('thaw', '--force', ext4.mountpoint)).exitCode).toBe(0);
    }
    expect((await harness.fsbackup('thaw', '--force', ext4.mountpoint)).exitCode).toBe(20);
  });

  it('two filesystems, one in an image on the other, are frozen top-down and thawed bottom-up', async () => {
    // Named in the wrong order; the other way round the upper FIFREEZE would hang on the frozen lower.
    const { exitCode, stdout, stderr } = await harness.fsbackup(
      'freeze',
      '--json',
      xfs.mountpoint,
      upper.mountpoint,
    );
    expect(exitCode, stderr).toBe(0);
    const { frozen } = JSON.parse(stdout) as { frozen: { mountpoint: string }[] };
    expect(frozen.map(({ mountpoint }) => mountpoint)).toEqual([upper.mountpoint, xfs.mountpoint]);
    await harness.held(xfs.mountpoint);
    const { watchdog } = await harness.held(upper.mountpoint);
    process.kill(watchdog, 'SIGKILL');
    await harness.write(upper.mountpoint);
    await harness.write(xfs.mountpoint);
    for (const { mountpoint } of [xfs, upper])
      expect((await harness.fsbackup('thaw', mountpoint)).exitCode).toBe(21);
  });

  it('one filesystem of a set can be thawed before the other', async () => {
    await harness.fsbackup('freeze', ext4.mountpoint, btrfs.mountpoint);
    await harness.held(ext4.mountpoint);
    expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(0);
    expect(await harness.blocksWriters(btrfs.mountpoint)).toBe(true);
    expect((await harness.fsbackup('thaw', btrfs.mountpoint)).exitCode).toBe(0);
    expect(await harness.blocksWriters(btrfs.mountpoint)).toBe(false);
  });

  it('a bind mount or a second name of the filesystem is the filesystem', async () => {
    const bound = `${disks.directory}/bound`;
    await mkdir(bound);
    await must('mount', '--bind', ext4.mountpoint, bound);
    try {
      expect((await harness.fsbackup('freeze', bound)).exitCode).toBe(0);
      await harness.held(bound);
      expect((await harness.fsbackup('freeze', ext4.mountpoint)).exitCode).toBe(11);
      expect((await harness.fsbackup('thaw', ext4.mountpoint)).exitCode).toBe(0);
    } finally {
      await must('umount', bound);
      await rm(bound, { recursive: true });
    }
  });

  it.each(['thaw', 'recover'] as const)(
    'all guards dead and the mountpoint gone: %s finds the filesystem by another',
    async (command) => {
      const bound = `${disks.directory}/bound`;
      await mkdir(bound);
      await must('mount', '--bind', ext4.mountpoint, bound);
      try {
        expect((await harness.fsbackup('freeze', bound)).exitCode).toBe(0);
        const { watchdog, second } = await harness.held(bound);
        for (const signal of ['SIGSTOP', 'SIGKILL'] as const)
          for (const pid of [second, watchdog]) process.kill(pid, signal);
        await eventually('both to end', () => !isGuard(watchdog) && !isGuard(second));
      } finally {
        await must('umount', bound);
        await rmdir(bound);
      }
      const { exitCode, stderr } = await harness.fsbackup(
        ...(command === 'thaw' ? ['thaw', ext4.mountpoint] : ['recover']),
      );
      expect(exitCode, stderr).toBe(0);
      expect(await harness.blocksWriters(ext4.mountpoint)).toBe(false);
    },
  );

  it('a kill of everything whose command line or path names fsbackup or node leaves nothing frozen', async () => {
    // In a PID namespace of its own, so that nothing else on the machine is hit. The killer bears none of the names.
    const killer = `${disks.directory}/reaper.sh`;
    writeFileSync(
      killer,
      `cd /proc
for pid in [0-9]*; do
  [ "$pid" = 1 ] && continue
  if { tr '\\0' ' ' < "$pid/cmdline"; readlink "$pid/exe"; } 2>/dev/null | grep -qE 'fsbackup|node|run\\.js'; then
    kill -9 "$pid" && echo "killed $(cat "$pid/comm" 2>/dev/null)"
  fi
done
touch "$1/after-the-kill" && echo thawed
`,
    );
    const script = `"$1" "$2" freeze --timeout 30 "$3" -- sleep 60 & while ! grep -qs '^armed' "$4"; do sleep 0.1; done; sleep 1; sh "$5" "$3"`;
    const record = `${disks.directory}/state/run/superblocks/${ext4.majorMinor}`;
    await rm(record, { force: true });
    const namespace = harness.start('unshare', [
      '--pid',
      '--fork',
      '--mount-proc',
      'sh',
      '-c',
      script,
      'sh',
      process.execPath,
      CLI,
      ext4.mountpoint,
      record,
      killer,
    ]);
    const { lines, until } = listen(namespace);
    await until(/^thawed$/);
    expect(lines.filter((line) => line.startsWith('killed'))).not.toEqual([]);
    expect(await harness.blocksWriters(ext4.mountpoint)).toBe(false);
    expect(readFileSync(record, 'utf8')).toMatch(/^lost holder-died /);
  });

  it("cgroup.kill of the command's cgroup leaves nothing frozen", async () => {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const root = mounts.find((line) => line.includes(' - cgroup2 '))?.split(' ')[4];
    expect(root).toBeDefined();
    const cgroup = `${root ?? ''}/fsbackup-test-${process.pid}`;
    await mkdir(cgroup);
    try {
      const script = 'echo $$ > "$1/cgroup.procs" && exec "$2" "$3" freeze --timeout 30 "$4" -- sleep 60';
      const cli = harness.start('sh', ['-c', script, 'sh', cgroup, process.execPath, CLI, ext4.mountpoint]);
      const { watchdog, second } = await harness.held(ext4.mountpoint);
      writeFileSync(`${cgroup}/cgroup.kill`, '1');
      expect(await ended(cli)).toBe('SIGKILL');
      await harness.write(ext4.mountpoint);
      await eventually('the guards to end', () => !isGuard(watchdog) && !isGuard(second));
    } finally {
      // The kernel empties it in its own time.
      await eventually('the cgroup to be empty', () =>
        rmdir(cgroup).then(
          () => true,
          () => undefined,
        ),
      );
    }
  });
});
