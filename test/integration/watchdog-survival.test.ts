import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, FreezeHarness, isGuard } from '../support/freeze-harness.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const HIERARCHIES_THAT_MATTER = /^(?:0::|\d+:(?:name=systemd|[^:]*\b(?:freezer|memory|pids)\b[^:]*):)(.*)$/;

function proc(pid: number, file: string): string {
  return readFileSync(`/proc/${pid}/${file}`, 'utf8');
}

/** The cgroups of a process in the hierarchies through which it can be killed, stopped or starved. */
function cgroups(pid: number): string[] {
  return proc(pid, 'cgroup')
    .split('\n')
    .map((line) => HIERARCHIES_THAT_MATTER.exec(line)?.[1])
    .filter((group) => group !== undefined);
}

function kilobytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(text)?.[1]);
}

describeNeeding(['root', 'loop', 'ext4'], 'the watchdog and its second', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let harness: FreezeHarness;
  let guards: { watchdog: number; second: number };

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
  });
  beforeEach(async () => {
    harness = new FreezeHarness(`${disks.directory}/state`);
    const { exitCode, stderr } = await harness.fsbackup('freeze', '--timeout', '30', disk.mountpoint);
    expect(exitCode, stderr).toBe(0);
    guards = await harness.held(disk.mountpoint);
  });
  afterEach(async () => {
    await harness.fsbackup('thaw', '--all');
    await harness.dispose();
  });

  it('are named after nothing that a kill by name would name', () => {
    const names = [guards.watchdog, guards.second].map((pid) => ({
      comm: proc(pid, 'comm').trim(),
      argv: proc(pid, 'cmdline').replaceAll('\0', ''),
      exe: readlinkSync(`/proc/${pid}/exe`),
    }));
    for (const { comm, argv, exe } of names) {
      expect(`${comm} ${argv} ${exe}`).not.toMatch(/fsbackup|node|freeze|watchdog|\.js/);
    }
    expect(names.map(({ comm }) => comm)).toEqual(['qsentry', 'vigil']);
    expect(names.map(({ argv }) => argv)).toEqual(['qsentry', 'vigil']);
  });

  it('lead sessions of their own, apart from their caller and from each other', () => {
    // Fields 5 and 6 of stat: process group and session. The second name in parentheses has no spaces.
    for (const pid of [guards.watchdog, guards.second]) {
      const fields = proc(pid, 'stat').split(' ');
      expect(fields.slice(4, 6).map(Number)).toEqual([pid, pid]);
    }
  });

  it('live in a cgroup of their own in every hierarchy through which a caller can be killed', () => {
    const mine = cgroups(process.pid);
    expect(cgroups(guards.watchdog)).toHaveLength(mine.length);
    for (const pid of [guards.watchdog, guards.second]) {
      for (const group of cgroups(pid)) expect(group).toBe(`/qsentry-${guards.watchdog}`);
    }
  });

  it('are locked into memory, and both together stay below 2 MB', () => {
    for (const pid of [guards.watchdog, guards.second]) {
      const status = proc(pid, 'status');
      expect(kilobytes(status, 'VmLck')).toBeGreaterThan(500);
      expect(kilobytes(status, 'VmSwap')).toBe(0);
    }
    const pss = [guards.watchdog, guards.second].map((pid) => kilobytes(proc(pid, 'smaps_rollup'), 'Pss'));
    expect(pss.reduce((sum, value) => sum + value)).toBeLessThan(2048);
  });

  it('are hidden from the OOM killer, or say that they are not', async () => {
    const scores = [guards.watchdog, guards.second].map((pid) => Number(proc(pid, 'oom_score_adj')));
    await harness.fsbackup('thaw', disk.mountpoint);
    const again = JSON.parse((await harness.fsbackup('freeze', '--json', disk.mountpoint)).stdout) as {
      warnings: string[];
    };
    const warned = again.warnings.some((warning) => warning.includes('OOM'));
    expect(warned).toBe(scores.some((score) => score !== -1000));
  });

  it('go before everything else that wants a processor', () => {
    for (const pid of [guards.watchdog, guards.second]) {
      // Fields 40 and 41 of stat: priority among, and policy of, those that are scheduled first; 1 is SCHED_FIFO.
      expect(proc(pid, 'stat').trim().split(' ').slice(39, 41)).toEqual(['1', '1']);
      expect(proc(pid, 'limits')).toMatch(/^Max cpu time\s+unlimited\s+unlimited/m);
    }
  });

  it('hold nothing open but what they watch: no output, no terminal, no directory that pins a mount', () => {
    for (const pid of [guards.watchdog, guards.second]) {
      for (const fd of [0, 1, 2]) expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe('/dev/null');
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
      const others = readdirSync(`/proc/${pid}/fd`)
        .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
        .filter((target) => target.startsWith('/') && target !== '/dev/null');
      expect(others.toSorted()).toEqual(
        [
          disk.mountpoint,
          `${disks.directory}/state/run/superblocks/${disk.majorMinor}`,
          '/memfd:page (deleted)',
          `${disks.directory}/state/run/rcu-expedited`,
        ].toSorted(),
      );
    }
  });

  it('made their thaw workers before the freeze: one for each filesystem, and start none when they fire', async () => {
    const threads = (pid: number): number => readdirSync(`/proc/${pid}/task`).length;
    expect([threads(guards.watchdog), threads(guards.second)]).toEqual([2, 2]);
    process.kill(guards.watchdog, 'SIGSTOP');
    expect([threads(guards.watchdog), threads(guards.second)]).toEqual([2, 2]);
    process.kill(guards.watchdog, 'SIGCONT');
  });

  it('answer at a socket that only root may open, unlinked when all is over', async () => {
    const control = `${disks.directory}/state/run/control`;
    const [socket] = readdirSync(control);
    expect(socket).toBeDefined();
    expect(statSync(control).mode & 0o777).toBe(0o700);
    expect(statSync(`${control}/${socket ?? ''}`).mode & 0o077).toBe(0);
    await harness.fsbackup('thaw', disk.mountpoint);
    await eventually('the socket to go', () => readdirSync(control).length === 0);
  });

  it.each(['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT'] as const)(
    '%s: thaws first, and says so',
    async (signal) => {
      process.kill(guards.watchdog, signal);
      await harness.write(disk.mountpoint);
      const { exitCode, stderr } = await harness.fsbackup('thaw', disk.mountpoint);
      expect(exitCode).toBe(21);
      expect(stderr).toContain('signal');
      await eventually('both to end', () => !isGuard(guards.watchdog) && !isGuard(guards.second));
    },
  );

  it.each([
    'SIGPIPE',
    'SIGUSR1',
    'SIGALRM',
    'SIGTSTP',
    'SIGTTOU',
    'SIGXCPU',
    'SIGXFSZ',
    'SIGVTALRM',
    // The first and the last that are for programs to use.
    34,
    64,
  ] as const)('%s: is no reason to end', async (signal) => {
    for (const pid of [guards.watchdog, guards.second]) process.kill(pid, signal);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(true);
    // Both dead would leave it frozen too.
    for (const pid of [guards.watchdog, guards.second]) expect(isGuard(pid)).toBe(true);
    expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
  });

  it.each(['watchdog', 'second'] as const)(
    'a detached freeze has no third process: when its %s dies, the other thaws at once',
    async (victim) => {
      process.kill(guards[victim], 'SIGKILL');
      await harness.write(disk.mountpoint);
      const { exitCode, stderr } = await harness.fsbackup('thaw', disk.mountpoint);
      expect(exitCode).toBe(21);
      expect(stderr).toContain('watchdog was killed');
      await eventually('both to end', () => !isGuard(guards.watchdog) && !isGuard(guards.second));
    },
  );

  it('a stopped watchdog does not keep thaw from thawing', async () => {
    process.kill(guards.watchdog, 'SIGSTOP');
    const { exitCode, stderr } = await harness.fsbackup('thaw', disk.mountpoint);
    expect(exitCode, stderr).toBe(0);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
    await eventually('both to end', () => !isGuard(guards.watchdog) && !isGuard(guards.second));
  });

  it('both killed together leave it frozen, which status tells and recover mends', async () => {
    process.kill(guards.second, 'SIGSTOP');
    process.kill(guards.watchdog, 'SIGSTOP');
    process.kill(guards.second, 'SIGKILL');
    process.kill(guards.watchdog, 'SIGKILL');
    await eventually('both to end', () => !isGuard(guards.watchdog) && !isGuard(guards.second));
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(true);
    expect((await harness.status()).frozen.map((frozen) => frozen.guards)).toEqual(['dead']);
    const { exitCode, stderr } = await harness.fsbackup('recover');
    expect(exitCode, stderr).toBe(0);
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
    expect((await harness.status()).frozen).toEqual([]);
  });
});
