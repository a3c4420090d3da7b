import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { spawn, type ChildProcess } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testNestedFreeze } from '../../src/system/nested-freeze.js';
import { CHILD_PATH, runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually } from '../support/freeze-harness.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const NATIVE = path.resolve(import.meta.dirname, '../../native');
/** EXT4_IOC_SHUTDOWN with flags 0, by a program that shares no code with ours. */
const SHUTDOWN =
  'my $flags = pack("L", 0); open(my $f, "<", $ARGV[0]) or die; ioctl($f, 0x8004587d, $flags) or print "$!"';

/** The images of self-tests that are attached: `/memfd:fsbackup-nested-freeze:NAMESPACE:PID:START (deleted)`. */
function attachedImages(pid: number | string = '\\d+'): string[] {
  return readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .map((file) => {
      try {
        return readFileSync(file, 'utf8');
      } catch {
        // No loop device, or detached just now.
        return '';
      }
    })
    .filter((image) => new RegExp(`fsbackup-nested-freeze:\\d+:${pid}:`).test(image));
}

describeNeeding(
  ['root', 'loop', 'ext4', 'program:perl', 'program:cc'],
  'the self-test of nested freezes',
  () => {
    const disks = throwawayDisks(afterAll);
    let stopping: string;
    const started: ChildProcess[] = [];

    beforeAll(async () => {
      stopping = path.join(disks.directory, 'stopping');
      const sources = ['nested-freeze.c', 'private-disk.c', 'leftovers.c'].map((name) =>
        path.join(NATIVE, name),
      );
      await must('cc', '-std=gnu17', '-D_GNU_SOURCE', '-DSTOP_WHILE_FROZEN', '-o', stopping, ...sources);
    });
    afterAll(() => {
      for (const child of started) child.kill('SIGKILL');
    });

    /** A self-test that has stopped while its filesystem is frozen: both its processes. */
    async function startStopped(): Promise<{ parent: ChildProcess; child: number }> {
      const parent = spawn(stopping, [], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: CHILD_PATH } });
      started.push(parent);
      const child = await eventually('the self-test to stop', () =>
        readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8')
          .trim()
          .split(' ')
          .map(Number)
          .find((pid) => pid > 0 && /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))),
      );
      return { parent, child };
    }

    it('says what the steps say when they are made one by one, and leaves nothing', async () => {
      const image = path.join(disks.directory, 'oracle.img');
      const mountpoint = path.join(disks.directory, 'oracle');
      await must('truncate', '--size=16M', image);
      await mkdir(mountpoint);
      // On a partition, which ends with the detach: a freeze that leaked would stay on the loop device itself.
      const loop = await must('losetup', '--find', '--show', '--partscan', image);
      await must('addpart', loop, '1', '0', '32768');
      const partition = `${loop}p1`;
      await must('mkfs.ext4', '-q', partition);
      await must('mount', partition, mountpoint);
      await writeFile(path.join(mountpoint, 'file'), 'text');
      await must('fsfreeze', '--freeze', mountpoint);
      const refusal = await must('perl', '-e', SHUTDOWN, path.join(mountpoint, 'file'));
      await must('fsfreeze', '--unfreeze', mountpoint);
      await must('umount', mountpoint);
      const second = await runCommand(['mount', partition, mountpoint], { timeoutMs: 10_000 });
      if (second.exitCode === 0) await must('umount', mountpoint);
      await must('losetup', '--detach', loop);
      expect(['', 'Device or resource busy']).toContain(refusal);
      const behaviour = refusal !== '' ? 'refuses' : second.exitCode === 0 ? 'nests' : 'leaks';

      expect(await testNestedFreeze()).toEqual({ behaviour });
      // Those of others that run beside this test end too.
      await eventually('no image to be attached', () => attachedImages().length === 0);
    });

    it('leaves the loop device usable for the next', async () => {
      for (let round = 0; round < 3; round += 1) {
        await testNestedFreeze();
        const disk = await disks.filesystem({ fstype: 'ext4', sizeMiB: 4 });
        await must('umount', disk.mountpoint);
        await must('losetup', '--detach', disk.device);
      }
      expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
    });

    it('thaws when the process that froze is killed', async () => {
      const { parent, child } = await startStopped();
      process.kill(child, 'SIGKILL');
      expect(await ended(parent)).toBe(1);
      await eventually('the loop device to be free', () => attachedImages(parent.pid ?? 0).length === 0);
    });

    it('thaws when the process that waits is killed', async () => {
      const { parent, child } = await startStopped();
      parent.kill('SIGKILL');
      process.kill(child, 'SIGCONT');
      await ended(parent);
      await eventually('the loop device to be free', () => attachedImages(parent.pid ?? 0).length === 0);
    });

    it('thaws what an earlier one left frozen when both its processes were killed', async () => {
      const { parent, child } = await startStopped();
      parent.kill('SIGSTOP');
      process.kill(child, 'SIGKILL');
      parent.kill('SIGKILL');
      await ended(parent);
      expect(attachedImages(parent.pid ?? 0)).toHaveLength(1);
      expect((await testNestedFreeze()).behaviour).not.toBe('unknown');
      await eventually('the loop device to be free', () => attachedImages(parent.pid ?? 0).length === 0);
    });

    it('leaves alone what a living one holds', async () => {
      const { parent, child } = await startStopped();
      expect((await testNestedFreeze()).behaviour).not.toBe('unknown');
      expect(attachedImages(parent.pid ?? 0)).toHaveLength(1);
      const output = text(parent.stdout ?? process.stdin);
      process.kill(child, 'SIGCONT');
      expect(await ended(parent)).toBe(0);
      expect(await output).toMatch(/^(refuses|leaks|nests)\n$/);
    });

    it('says why it found nothing', async () => {
      const copy = path.join(disks.directory, 'built');
      await must('cp', path.join(NATIVE, 'build/nested-freeze'), copy);
      await must('chmod', '755', copy, disks.directory);
      const result = await runCommand(['setpriv', '--reuid=65534', '--clear-groups', copy], {
        timeoutMs: 30_000,
      });
      expect(result).toMatchObject({
        exitCode: 1,
        stdout: '',
        stderr: '/dev/loop-control: Permission denied\n',
      });
    });
  },
);
