import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { eventually, isGuard } from '../support/freeze-harness.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const ROOT = path.resolve(import.meta.dirname, '../..');

/**
 * The fsbackup of this checkout with addon, watchdogs and self-test built with the sanitizers, which end whatever they
 * find a fault in and leave a report: what freezes and thaws in other tests, once more.
 */
describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the C code under the sanitizers', () => {
  const disks = throwawayDisks(afterAll);
  let root: string;
  let built: string;
  let preload: string;
  let lower: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;

  beforeAll(async () => {
    root = path.join(disks.directory, 'package');
    built = path.join(root, 'native/build');
    mkdirSync(root);
    for (const name of ['bin', 'dist', 'package.json', 'oclif.manifest.json']) {
      cpSync(path.join(ROOT, name), path.join(root, name), { recursive: true });
    }
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
    const env = { PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin` };
    const done = await runCommand([path.join(ROOT, 'scripts/build-native'), '--sanitize', built], { env });
    expect(done.exitCode, done.stderr).toBe(0);
    // Node itself is not sanitized: what the addon needs must be there before it.
    preload = (await must('cc', '-print-file-name=libasan.so')).trim();
    lower = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: lower });
  });

  function reports(): string {
    return readdirSync(built)
      .filter((name) => name.startsWith('report'))
      .map((name) => readFileSync(path.join(built, name), 'utf8'))
      .join('\n');
  }

  beforeEach(() => {
    expect(reports()).toBe('');
  });
  afterEach(async () => {
    await fsbackup('thaw', '--all');
  });

  function fsbackup(...args: string[]): Promise<CommandResult> {
    return runCommand([process.execPath, path.join(root, 'bin/run.js'), ...args], {
      env: {
        FSBACKUP_RUN_DIR: path.join(disks.directory, 'run'),
        FSBACKUP_STATE_DIR: path.join(disks.directory, 'state'),
        LD_PRELOAD: preload,
        ASAN_OPTIONS: `detect_leaks=0:abort_on_error=1:log_path=${built}/report-addon`,
      },
      cwd: '/',
      timeoutMs: 100_000,
    });
  }

  async function freeze(...args: string[]): Promise<{ pids: number[]; control: string }> {
    const { exitCode, stderr } = await fsbackup('freeze', '--max-hold', '115', ...args);
    expect(exitCode, stderr).toBe(0);
    const { frozen } = JSON.parse((await fsbackup('status', '--json')).stdout) as {
      frozen: { watchdogPids: number[] }[];
    };
    const directory = path.join(disks.directory, 'run/control');
    return {
      pids: frozen[0]?.watchdogPids ?? [],
      control: path.join(directory, readdirSync(directory)[0] ?? ''),
    };
  }

  async function gone(pids: readonly number[]): Promise<void> {
    await eventually('the guards to end', () => pids.every((pid) => !isGuard(pid)));
  }

  it('freezes, resets and thaws a stack', async () => {
    const { pids } = await freeze('--timeout', '110', lower.mountpoint, upper.mountpoint);
    for (const pid of pids) expect(readFileSync(`/proc/${pid}/maps`, 'utf8')).toContain('libasan');
    expect(pids).toHaveLength(2);
    expect(await fsbackup('reset', '--timeout', '50', upper.mountpoint)).toMatchObject({ exitCode: 0 });
    expect(await fsbackup('thaw', upper.mountpoint, lower.mountpoint)).toMatchObject({ exitCode: 0 });
    await gone(pids);
    expect(reports()).toBe('');
  });

  it('thaws at the deadline, and when the watchdog was killed', async () => {
    const first = await freeze('--timeout', '2', upper.mountpoint);
    await gone(first.pids);
    expect(await fsbackup('thaw', upper.mountpoint)).toMatchObject({ exitCode: 21 });
    const second = await freeze('--timeout', '110', upper.mountpoint);
    process.kill(second.pids[0] ?? 0, 'SIGKILL');
    await gone(second.pids);
    expect(await fsbackup('thaw', upper.mountpoint)).toMatchObject({ exitCode: 21 });
    expect(reports()).toBe('');
  });

  it('takes nonsense at its control socket', async () => {
    const { pids, control } = await freeze('--timeout', '110', upper.mountpoint);
    for (const nonsense of ['', 'x', '\0'.repeat(1856), 'FBFR'.repeat(10_000)]) {
      const socket = connect(control);
      socket.on('error', () => {});
      socket.end(nonsense);
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
    }
    expect(await fsbackup('thaw', upper.mountpoint)).toMatchObject({ exitCode: 0 });
    await gone(pids);
    expect(reports()).toBe('');
  });

  it('runs a job, and tests the kernel', async () => {
    const target = path.join(disks.directory, 'backups');
    mkdirSync(target);
    const run = await fsbackup('run', '--job', 'one', '--source', upper.mountpoint, '--to', target, '--json');
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    const { stdout, stderr, exitCode } = await runCommand([path.join(built, 'nested-freeze')], {
      timeoutMs: 60_000,
    });
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toMatch(/^(?:refuses|leaks|nests)$/m);
    expect(reports()).toBe('');
  });

  it('would leave a report', async () => {
    const { pids } = await freeze('--timeout', '110', upper.mountpoint);
    process.kill(pids[0] ?? 0, 'SIGSEGV');
    await gone(pids);
    await eventually(
      'the report',
      () => existsSync(built) && reports().includes('ERROR: AddressSanitizer: SEGV'),
    );
    for (const name of readdirSync(built).filter((one) => one.startsWith('report'))) {
      await must('rm', path.join(built, name));
    }
  });
});
