import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CLI = resolve(import.meta.dirname, '../../bin/run.js');
const WARNING = 'the watchdog shares its cgroup with other processes and dies with it';
const EPERM = '1';

/** In a mount namespace of its own, `$1` shows the cgroup `$2` and no more; `$3`: what is mounted otherwise then. */
const ENTER = `
  mount --bind "$2" "$1"
  eval "$3"
  echo $$ > "$1/$4/cgroup.procs"
  shift 4
  exec "$@"`;
/** Its line in /proc is longer than what the guards read of one. */
const DEEP = Array.from({ length: 6 }, () => 'n'.repeat(200)).join('/');

/** Where the mountinfo of this process shows cgroup v2, and its options. */
function cgroupMount(): { at: string; options: string | undefined } {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.includes(' - cgroup2 '));
  const words = line?.split(' ');
  return { at: words?.[4] ?? '', options: words?.at(-1) };
}

/** A command in a cgroup of which there is a mount, as the runtime of a container without a cgroup namespace makes one. */
describeNeeding(
  ['root', 'loop', 'ext4', 'cgroup2', 'program:cc'],
  'guards whose command sees its own cgroup',
  () => {
    const disks = throwawayDisks(afterAll);
    const { at: whole, options } = cgroupMount();
    const cgroup = `${whole}/fsbackup-test-${process.pid}`;
    const hide = `umount --lazy "${whole}"`;
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
      await eventually('the cgroup to be empty', () => remove(cgroup));
    });

    /** A cgroup with those in it; undefined while there is somebody in one of them. */
    function remove(directory: string): true | undefined {
      for (const entry of readdirSync(directory, { withFileTypes: true }))
        if (entry.isDirectory()) remove(`${directory}/${entry.name}`);
      try {
        rmdirSync(directory);
        return true;
      } catch {
        return undefined;
      }
    }

    /** `within`: a cgroup below that of the test. */
    async function freeze(
      { mounts, within = '.' }: { mounts: string; within?: string },
      ...through: string[]
    ): Promise<{ warnings: string[]; pids: number[] }> {
      const command = [...through, process.execPath, CLI, 'freeze', '--json', disk.mountpoint];
      const alone = ['--mount', '--propagation', 'private', 'sh', '-e', '-c', ENTER, 'sh'];
      const child = harness.start('unshare', [...alone, shown, cgroup, mounts, within, ...command]);
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
      ['and nothing else', hide],
    ])('leave it, %s, and outlive its end', async (_, mounts) => {
      const { warnings, pids } = await freeze({ mounts });
      for (const pid of pids) {
        expect(cgroupOf(pid)).toBe(`/qsentry-${pids[0]}`);
        const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
        expect(open).not.toContain('anon_inode:[fscontext]');
      }
      expect(warnings).not.toContain(WARNING);
      // Those of the host, of which a mount without them would have made none.
      expect(cgroupMount().options).toBe(options);
      writeFileSync(`${cgroup}/cgroup.kill`, '1');
      expect(pids.filter(isGuard)).toEqual(pids);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });

    it('leave it by a mount of the whole, though a part was mounted before, and they may mount none', async () => {
      const again = `${disks.directory}/whole`;
      const mounts = `mkdir "${again}"; mount --bind "${whole}" "${again}"; ${hide}`;
      const { warnings, pids } = await freeze({ mounts }, faultyCall, 'fsopen', EPERM);
      for (const pid of pids) expect(cgroupOf(pid)).toBe(`/qsentry-${pids[0]}`);
      expect(warnings).not.toContain(WARNING);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });

    it('remove what killed ones have left', async () => {
      const left = `${whole}/qsentry-left-by-${process.pid}`;
      mkdirSync(left);
      try {
        await freeze({ mounts: '' });
        expect(existsSync(left)).toBe(false);
      } finally {
        if (existsSync(left)) rmdirSync(left);
      }
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });

    it('leave it, however deep it lies', async () => {
      mkdirSync(`${cgroup}/${DEEP}`, { recursive: true });
      const { pids } = await freeze({ mounts: '', within: DEEP });
      for (const pid of pids) expect(cgroupOf(pid)).toBe(`/qsentry-${pids[0]}`);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });

    it('say that they end with it, where they may not leave it', async () => {
      const { warnings, pids } = await freeze({ mounts: hide }, faultyCall, 'fsopen', EPERM);
      for (const pid of pids) expect(cgroupOf(pid)).toContain(cgroup.slice(whole.length));
      expect(warnings).toContain(WARNING);
      expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
    });
  },
);
