import { closeSync, openSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { freezeDetached } from '../../src/freeze/freeze-by-hand.js';
import { findFreezeTargets } from '../../src/freeze/freeze-targets.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, FreezeHarness } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const CLI = fileURLToPath(new URL('../../bin/run.js', import.meta.url));

describeNeeding(['root', 'loop', 'ext4'], 'refused before anything is frozen', () => {
  const disks = throwawayDisks(afterAll);
  let disk: ThrowawayFilesystem;
  let harness: FreezeHarness;

  beforeAll(async () => {
    disk = await disks.filesystem({ fstype: 'ext4' });
    await mkdir(`${disk.mountpoint}/below`);
  });
  beforeEach(() => {
    harness = new FreezeHarness(`${disks.directory}/state`);
  });
  afterEach(async () => {
    expect(await harness.blocksWriters(disk.mountpoint)).toBe(false);
    expect((await harness.status()).frozen).toEqual([]);
    await harness.dispose();
  });

  it.each([
    {
      what: 'a directory below a mountpoint',
      args: ['MNT/below'],
      exitCode: 2,
      says: /not a mountpoint; it belongs to .*\.mnt/,
    },
    {
      what: 'a file',
      args: ['/etc/passwd'],
      exitCode: 2,
      says: /is not a directory.*\n.*mountpoint of the filesystem/,
    },
    {
      what: 'a device',
      args: ['DEV'],
      exitCode: 2,
      says: /is not a directory.*\nName where it is mounted: .*\.mnt\./,
    },
    { what: 'a path that is not there', args: ['MNT/absent'], exitCode: 2, says: /does not exist/ },
    { what: 'no mountpoint at all', args: [], exitCode: 2, says: /Missing argument/ },
    {
      what: 'a filesystem that cannot be frozen',
      args: ['MNT', '/proc'],
      exitCode: 20,
      says: /\/proc is proc, which cannot be frozen/,
    },
    { what: 'the root filesystem', args: ['/'], exitCode: 20, says: /holds the root directory/ },
    {
      what: 'a timeout of one second',
      args: ['--timeout', '1', 'MNT'],
      exitCode: 2,
      says: /means no timeout/,
    },
    { what: 'a timeout of none', args: ['--timeout', '0', 'MNT'], exitCode: 2, says: /--no-timeout/ },
    {
      what: 'a timeout that is no duration',
      args: ['--timeout', 'soon', 'MNT'],
      exitCode: 2,
      says: /not a duration/,
    },
    {
      what: 'a hold over the hung-task limit',
      args: ['--timeout', '10', '--max-hold', '1000000', 'MNT'],
      exitCode: 2,
      says: /hung-task limit/,
    },
    {
      what: 'a timeout over the longest hold',
      args: ['--timeout', '70', 'MNT'],
      exitCode: 2,
      says: /longer than/,
    },
    {
      what: 'a command that is not there',
      args: ['MNT', '--', 'no-such-command'],
      exitCode: 127,
      says: /nothing was frozen/,
    },
    {
      what: 'a command that may not be run',
      args: ['MNT', '--', '/etc/passwd'],
      exitCode: 126,
      says: /nothing was frozen/,
    },
    { what: 'no command after --', args: ['MNT', '--'], exitCode: 2, says: /no command/ },
    { what: 'an unknown flag', args: ['--forever', 'MNT'], exitCode: 2, says: /--forever/ },
  ])('$what: exit $exitCode', async ({ args, exitCode, says }) => {
    const result = await harness.fsbackup(
      'freeze',
      ...args.map((argument) => argument.replace('MNT', disk.mountpoint).replace('DEV', disk.device)),
    );
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toMatch(says);
    // A line of what, a line of what to do.
    expect(result.stderr.trim().split('\n').length).toBeGreaterThanOrEqual(2);
  });

  it.each([
    ['whose interpreter is not there', '#!/no/such/interpreter\n', 127],
    ['whose interpreter is no program', '#!/etc/passwd\n', 126],
  ])('a command %s is found out when it is frozen already, and is thawed', async (_, script, exitCode) => {
    const command = path.join(disks.directory, `command-${exitCode}`);
    await writeFile(command, script, { mode: 0o755 });
    const result = await harness.fsbackup('freeze', disk.mountpoint, '--', command);
    expect(result.stderr).toContain(`${command} could not be started`);
    expect(result.exitCode).toBe(exitCode);
    expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(20);
  });

  it.each(['stdout', 'stderr'] as const)('%s on the filesystem itself: exit 20', async (stream) => {
    const file = openSync(`${disk.mountpoint}/output-${stream}`, 'w');
    const child = spawn(process.execPath, [CLI, 'freeze', disk.mountpoint], {
      stdio: ['ignore', stream === 'stdout' ? file : 'ignore', stream === 'stderr' ? file : 'ignore'],
      env: { ...process.env, ...harness.environment },
    });
    closeSync(file);
    expect(await ended(child)).toBe(20);
  });

  it.each(['standard output', 'the state directory', 'the run directory'])(
    '%s on an overlay that is written to the filesystem: exit 20',
    async (what) => {
      const [merged, upper, work, lower] = ['merged', 'upper', 'work', 'lower'].map((name) =>
        path.join(name === 'upper' || name === 'work' ? disk.mountpoint : disks.directory, what, name),
      );
      for (const directory of [merged, upper, work, lower])
        await mkdir(String(directory), { recursive: true });
      const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
      await must('mount', '-t', 'overlay', '-o', options, 'overlay', String(merged));
      const file = openSync(`${merged}/output`, 'w');
      const child = spawn(process.execPath, [CLI, 'freeze', disk.mountpoint], {
        stdio: ['ignore', what === 'standard output' ? file : 'ignore', 'pipe'],
        env: {
          ...process.env,
          ...harness.environment,
          ...(what === 'the state directory' ? { FSBACKUP_STATE_DIR: `${merged}/state` } : {}),
          ...(what === 'the run directory' ? { FSBACKUP_RUN_DIR: `${merged}/run` } : {}),
        },
      });
      closeSync(file);
      const said = text(child.stderr ?? process.stdin);
      expect(await ended(child)).toBe(20);
      expect(await said).toContain(`${disk.mountpoint} holds ${what}`);
    },
  );

  it('standard output that another mount hides: exit 20', async () => {
    const file = openSync(`${disk.mountpoint}/hidden-output`, 'w');
    const bind = path.join(disks.directory, 'bind');
    await mkdir(bind);
    await must('mount', '--bind', disk.mountpoint, bind);
    await must('mount', '-t', 'tmpfs', 'none', disk.mountpoint);
    try {
      const child = spawn(process.execPath, [CLI, 'freeze', bind], {
        stdio: ['ignore', file, 'ignore'],
        env: { ...process.env, ...harness.environment },
      });
      expect(await ended(child)).toBe(20);
    } finally {
      closeSync(file);
      await must('umount', disk.mountpoint);
    }
  });

  it('the state directory on the filesystem itself: exit 20, and frozen with --force', async () => {
    const inside = new FreezeHarness(`${disk.mountpoint}/state`);
    expect((await inside.fsbackup('freeze', disk.mountpoint)).exitCode).toBe(20);
    const forced = await inside.fsbackup('freeze', '--force', '--timeout', '20', disk.mountpoint);
    expect(forced.exitCode, forced.stderr).toBe(0);
    // Its record lies on the frozen filesystem: it is written after the thaw, and nobody hangs.
    const thawed = await inside.fsbackup('thaw', disk.mountpoint);
    expect(thawed.exitCode, thawed.stderr).toBe(0);
    await inside.dispose();
  });

  it('output that cannot be written: exit 1, and thawed again', async () => {
    const full = openSync('/dev/full', 'w');
    try {
      const child = spawn(process.execPath, [CLI, 'freeze', '--timeout', '30', disk.mountpoint], {
        env: { ...process.env, ...harness.environment },
        stdio: ['ignore', full, 'pipe'],
      });
      const [said, end] = await Promise.all([text(child.stderr ?? Readable.from([])), ended(child)]);
      expect(end).toBe(1);
      expect(said).toContain('cannot write the output');
      expect(said).toContain(`is thawed again: ${disk.mountpoint}`);
    } finally {
      closeSync(full);
    }
  });

  it('a signal once the watchdogs own the freeze, before that was told: thawed again', async () => {
    // The run directory that this process is told.
    vi.stubEnv('FSBACKUP_RUN_DIR', harness.environment['FSBACKUP_RUN_DIR']);
    onTestFinished(() => void vi.unstubAllEnvs());
    await mkdir(`${disks.directory}/state`, { recursive: true });
    const targets = await findFreezeTargets([disk.mountpoint], { force: false });
    const signals = new EventEmitter();
    const wasFrozen: boolean[] = [];
    const freezing = freezeDetached(
      targets,
      { timeoutMs: 30_000, maxHoldMs: 60_000 },
      {
        signals,
        tell: async () => {
          wasFrozen.push(await harness.blocksWriters(disk.mountpoint));
          signals.emit('SIGTERM', 'SIGTERM');
          return true;
        },
      },
    );
    await expect(freezing).rejects.toMatchObject({ code: 'terminated' });
    expect(wasFrozen).toEqual([true]);
  });

  it('--timeout 0 with --no-timeout: held up to max-hold alone', async () => {
    const frozen = await harness.fsbackup(
      'freeze',
      '--json',
      '--timeout',
      '0',
      '--no-timeout',
      '--max-hold',
      '20',
      disk.mountpoint,
    );
    expect(frozen.exitCode, frozen.stderr).toBe(0);
    expect(JSON.parse(frozen.stdout)).toMatchObject({ timeoutSeconds: null, maxHoldSeconds: 20 });
    // The longest hold is this freeze's, whatever that of another would be.
    const reset = await harness.fsbackup('reset', '--timeout', '90', disk.mountpoint);
    expect(reset.exitCode, reset.stderr).toBe(0);
    expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(0);
  });

  it('a mountpoint with a blank in it: what is to be run next can be copied into a shell', async () => {
    const blank = `${disks.directory}/my disk`;
    await mkdir(blank);
    await must('mount', '--bind', disk.mountpoint, blank);
    try {
      const refused = await harness.fsbackup('thaw', blank);
      expect(refused.stderr).toContain(`fsbackup thaw --force '${blank}'`);
      const frozen = await harness.fsbackup('freeze', blank);
      expect(frozen.stdout).toMatch(
        new RegExp(`thaw it with: fsbackup thaw --freeze [0-9a-f]{8} '${blank}'\n`),
      );
      expect((await harness.fsbackup('thaw', blank)).exitCode).toBe(0);
    } finally {
      await must('umount', blank);
    }
  });

  it('thaw with nothing held: --all exits 0, a mountpoint exits 20', async () => {
    expect((await harness.fsbackup('thaw', '--all')).exitCode).toBe(0);
    expect((await harness.fsbackup('thaw', disk.mountpoint)).exitCode).toBe(20);
    expect((await harness.fsbackup('reset', disk.mountpoint)).exitCode).toBe(20);
    expect((await harness.fsbackup('thaw')).exitCode).toBe(2);
    expect((await harness.fsbackup('thaw', '--all', disk.mountpoint)).exitCode).toBe(2);
  });
});
