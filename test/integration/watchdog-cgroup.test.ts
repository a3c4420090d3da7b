import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CLI = resolve(import.meta.dirname, '../../bin/run.js');
const WARNING = 'the watchdog shares its cgroup with other processes and dies with it';
const EPERM = '1';

/** In a mount namespace of its own, `$1` shows the cgroup `$2` and no more; `$3`: a mount that is not there any more, or nothing. */
const ENTER = `
  mount --bind "$2" "$1"
  [ -z "$3" ] || umount --lazy "$3"
  echo $$ > "$1/cgroup.procs"
  shift 3
  exec "$@"`;

/** What the mountinfo of this process shows of cgroup v2. */
function cgroupMount(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.includes(' - cgroup2 '));
  return line?.split(' ')[4] ?? '';
}

/** A command in a cgroup of which there is a mount, as the runtime of a container without a cgroup namespace makes one. */
describeNeeding(
  ['root', 'loop', 'ext4', 'cgroup2', 'program:cc'],
  'guards whose command sees its own cgroup',
  () => {
    const disks = throwawayDisks(afterAll);
    const cgroup = `${cgroupMount()}/fsbackup-test-${process.pid}`;
    let disk: ThrowawayFilesystem;
    let harness: FreezeHarness;
    let faultyCall: string;
    let shown: string;

    beforeAll(async () => {
      disk = await disks.filesystem({ fstype: 'ext4' });
      shown = `${disks.directory}/cgroup`;
      mkdirSync(shown);
      faultyCall = `${disks.directory}/faulty-call`;
      const source = resolve(import.meta.dirname, '../support/faulty-call.c');
      await must('cc', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-o', faultyCall, source);
    });
    beforeEach(() => {
      harness = new FreezeHarness(`${disks.directory}/state`);
      mkdirSync(cgroup);
    });
    afterEach(async () => {
      await harness.fsbackup('thaw', '--all');
      await harness.dispose();
      await eventually('the cgroup to be empty', () => {
        try {
          rmdirSync(cgroup);
          return true;
        } catch {
          return false;
        }
      });
    });

    async function freeze(
      gone: string,
      ...through: string[]
    ): Promise<{ warnings: string[]; pids: number[] }> {
      const command = [...through, process.execPath, CLI, 'freeze', '--json', disk.mountpoint];
      const alone = ['--mount', '--propagation', 'private', 'sh', '-e', '-c', ENTER, 'sh'];
      const child = harness.start('unshare', [...alone, shown, cgroup, gone, ...command]);
      let said = '';
      child.stdout?.on('data', (text: Buffer) => (said += text.toString()));
      expect(await ended(child)).toBe(0);
      const { watchdog, second } = await harness.held(disk.mountpoint);
      return { ...(JSON.parse(said) as { warnings: string[] }), pids: [watchdog, second] };
    }

    function cgroupOf(pid: number): string | undefined {
      return /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
    }

    it.each([
      ['beside the whole', ''],
      ['and nothing else', cgroupMount()],
    ])('leave it, %s, and outlive its end', async (_, gone) => {
      const { pids } = await freeze(gone);
      for (const pid of pids) expect(cgroupOf(pid)).toBe(`/qsentry-${pids[0]}`);
      writeFileSync(`${cgroup}/cgroup.kill`, '1');
      expect(pids.filter(isGuard)).toEqual(pids);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });

    it('say that they end with it, where they may not leave it', async () => {
      const { warnings, pids } = await freeze(cgroupMount(), faultyCall, 'fsopen', EPERM);
      for (const pid of pids) expect(cgroupOf(pid)).toContain(cgroup.slice(cgroupMount().length));
      expect(warnings).toContain(WARNING);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });
  },
);
