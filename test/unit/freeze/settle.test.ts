import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { deviceLossReason, lossNumber, MAX_DEVICES, WatchState } from '../../../src/freeze/protocol.js';
import { runCommand } from '../../../src/system/run-command.js';
import { eventually } from '../../support/freeze-harness.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NATIVE = path.join(ROOT, 'native');
/** How long a living program is given, and how long a killed one is waited for: of native/settle.c. */
const GRACE_MS = 1000;
const KILLED_MS = 2000;
const OTHERS_MS = 500;
const EIO = 5;
const EINVAL = 22;

describe('devices that a snapshot command leaves suspended', () => {
  let directory: string;
  let program: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'settle-'));
    program = path.join(directory, 'settle');
    const sources = ['settle.c', 'commands.c'].map((name) => path.join(NATIVE, name));
    const harness = path.join(ROOT, 'test/support/settle-harness.c');
    const flags = ['-std=gnu17', '-D_GNU_SOURCE', '-Wall', '-Werror', '-Dkill=harness_kill', '-I', NATIVE];
    const compiled = await runCommand(['cc', ...flags, '-o', program, ...sources, harness]);
    expect(compiled.exitCode, compiled.stderr).toBe(0);
  });
  afterEach(() => {
    for (const child of children.splice(0)) if (child.pid !== undefined) kill(-child.pid);
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  function kill(pid: number): void {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  }

  /** A program that leads a process group of its own, and hangs with a child. */
  async function hanging(script = 'sleep 600 & wait'): Promise<ChildProcess & { pid: number }> {
    const child = spawn('sh', ['-c', script], { detached: true, stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    return child as ChildProcess & { pid: number };
  }

  async function settle(
    devices: string,
    groups: readonly number[],
    { loss = 0, deadlineMs = 60_000, env = {} } = {},
  ) {
    const argv = [program, devices, String(loss), String(deadlineMs), ...groups.map(String)] as const;
    const { stdout, exitCode, stderr } = await runCommand(argv, { env, timeoutMs: 60_000 });
    expect(exitCode, stderr).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    const [state, lost, tookMs, ...fates] = (lines.pop() ?? '').split(' ');
    const [resumed = [], errnos = [], resumedMs = []] = [0, 1, 2].map((index) =>
      fates.map((fate) => Number(fate.split('/')[index])),
    );
    return {
      state: Number(state),
      lost: deviceLossReason(Number(lost)),
      tookMs: Number(tookMs),
      resumed,
      errnos,
      resumedMs,
      resumes: lines,
    };
  }

  it('are none: that is found out at once', async () => {
    const end = await settle('RR', [-1]);
    expect(end).toMatchObject({ state: WatchState.ended, lost: undefined, resumes: [], resumed: [0, 0] });
    expect(end.tookMs).toBeLessThan(OTHERS_MS);
  });

  it('are resumed, the lowest first, when their command is gone', async () => {
    const end = await settle('SRSS', [-1]);
    expect(end).toMatchObject({ state: WatchState.ended, lost: 'left-suspended', resumed: [1, 0, 1, 1] });
    expect(end.resumes).toEqual(['resume 3 gone', 'resume 2 gone', 'resume 0 gone']);
    // Not at once: it might be another's, who is about to resume it.
    expect(end.tookMs).toBeGreaterThanOrEqual(OTHERS_MS);
  });

  it('may be as many as an origin with sixty snapshots has', async () => {
    const end = await settle('S'.repeat(MAX_DEVICES), [-1]);
    expect(end.resumed).toEqual(Array.from({ length: MAX_DEVICES }, () => 1));
    expect(end.resumes[0]).toBe(`resume ${MAX_DEVICES - 1} gone`);
    expect(MAX_DEVICES).toBeGreaterThan(2 * 60);
  });

  it('are left alone when no command of ours was ever begun', async () => {
    const end = await settle('S', [], { loss: lossNumber('holder-died') });
    expect(end).toMatchObject({ state: WatchState.ended, resumes: [], resumed: [0] });
  });

  it('are resumed only once the whole process group was killed', async () => {
    const command = await hanging();
    const end = await settle('SS', [command.pid], { loss: lossNumber('timeout'), deadlineMs: 0 });
    expect(end).toMatchObject({ state: WatchState.ended, lost: 'timeout' });
    expect(end.resumes).toEqual(['resume 1 gone', 'resume 0 gone']);
    // Its time is up: it gets no other second.
    expect(end.tookMs).toBeLessThan(GRACE_MS);
    expect(command.signalCode ?? (await once(command, 'exit'))[1]).toBe('SIGKILL');
  });

  it('are left to a living command for a while, before the deadline', async () => {
    const command = await hanging();
    const end = await settle('S', [command.pid], { loss: lossNumber('holder-died') });
    expect(end).toMatchObject({ state: WatchState.ended, lost: 'holder-died', resumes: ['resume 0 gone'] });
    expect(end.tookMs).toBeGreaterThanOrEqual(GRACE_MS);
  });

  it('need no help when the command resumes them and ends in that time', async () => {
    const command = await hanging('sleep 0.4');
    const env = { HARNESS_SELF_MS: '300' };
    const end = await settle('S', [command.pid], { loss: lossNumber('holder-died'), env });
    expect(end).toMatchObject({ state: WatchState.ended, resumes: [], resumed: [0] });
    expect(command.exitCode ?? (await once(command, 'exit'))[0]).toBe(0);
  });

  it('are not believed safe while a command lives that may suspend them', async () => {
    const command = await hanging();
    const end = await settle('R', [command.pid], { loss: lossNumber('holder-died') });
    expect(end).toMatchObject({ state: WatchState.ended, lost: 'holder-died', resumes: [] });
    expect(command.signalCode ?? (await once(command, 'exit'))[1]).toBe('SIGKILL');
  });

  it('wait for a command whose name looks like the end of another', async () => {
    const named = path.join(directory, 'a) Z 1 1 (');
    copyFileSync('/bin/sleep', named);
    const command = spawn(named, ['600'], { detached: true, stdio: 'ignore' });
    children.push(command);
    await once(command, 'spawn');
    const end = await settle('S', [command.pid ?? 0], { loss: lossNumber('timeout'), deadlineMs: 0 });
    expect(end).toMatchObject({ lost: 'timeout', resumes: ['resume 0 gone'] });
    expect(command.signalCode ?? (await once(command, 'exit'))[1]).toBe('SIGKILL');
  });

  it('do not wait for zombies, which a command line that is stopped leaves', async () => {
    // The inner shell is killed and nobody reaps it: its parent is stopped.
    const groupFile = path.join(directory, 'group');
    const parent = await hanging(`setsid sh -c 'sleep 600 & echo $$ > ${groupFile}; wait' & wait`);
    const group = await eventually(
      'the group',
      () => Number(readFileSync(groupFile, { flag: 'a+' })) || undefined,
    );
    process.kill(parent.pid, 'SIGSTOP');
    const end = await settle('S', [group], { loss: lossNumber('timeout'), deadlineMs: 0 });
    expect(end).toMatchObject({ state: WatchState.ended, resumes: ['resume 0 gone'] });
    expect(() => process.kill(-group, 0)).not.toThrow();
    expect(end.tookMs).toBeLessThan(KILLED_MS);
  });

  it('are resumed beside a command that does not die, after a while, and stay watched', async () => {
    const command = await hanging();
    const env = { HARNESS_IMMORTAL: '1' };
    const end = await settle('S', [command.pid], { loss: lossNumber('timeout'), deadlineMs: 0, env });
    expect(end).toMatchObject({ state: WatchState.lingering, resumes: ['resume 0 living'], resumed: [1] });
    expect(end.tookMs).toBeGreaterThanOrEqual(KILLED_MS);
  });

  it('of a command that has no name yet are resumed at the deadline, and not before', async () => {
    const end = await settle('S', [0], { loss: lossNumber('holder-died'), deadlineMs: 1500 });
    expect(end).toMatchObject({ state: WatchState.ended, lost: 'holder-died', resumes: ['resume 0 gone'] });
    expect(end.tookMs).toBeGreaterThanOrEqual(1500);
  });

  it('that cannot be resumed are told, and keep none of the others', async () => {
    const end = await settle('SBS', [-1]);
    expect(end).toMatchObject({ state: WatchState.stuck, resumed: [1, 0, 1], errnos: [0, EINVAL, 0] });
    expect(end.resumes).toEqual(['resume 2 gone', 'resume 0 gone']);
    expect(end.resumedMs[1]).toBe(0);
    for (const ms of [end.resumedMs[0], end.resumedMs[2]]) expect(ms).toBeGreaterThanOrEqual(OTHERS_MS);
  });

  it('that are gone keep nobody waiting', async () => {
    const end = await settle('GG', [-1]);
    expect(end).toMatchObject({ state: WatchState.ended, lost: undefined, errnos: [0, 0] });
    expect(end.tookMs).toBeLessThan(OTHERS_MS);
    expect(await settle('GS', [-1])).toMatchObject({
      state: WatchState.ended,
      resumed: [0, 1],
      errnos: [0, 0],
    });
  });

  it('that cannot be looked at are not called safe', async () => {
    expect(await settle('F', [-1])).toMatchObject({ state: WatchState.stuck, errnos: [EIO] });
  });

  it('that nobody has begun to watch are none of ours, whatever they are', async () => {
    const env = { HARNESS_STATE: String(WatchState.idle) };
    const end = await settle('S', [-1], { loss: lossNumber('holder-died'), env });
    expect(end).toMatchObject({ state: WatchState.ended, lost: undefined, tookMs: 0, resumes: [] });
  });

  it('wait no second time for a command that was killed and does not die', async () => {
    const command = await hanging();
    const env = { HARNESS_IMMORTAL: '1', HARNESS_STATE: String(WatchState.lingering) };
    const end = await settle('R', [command.pid], { loss: lossNumber('timeout'), deadlineMs: 0, env });
    expect(end).toMatchObject({ state: WatchState.lingering, lost: undefined, tookMs: 0 });
  });

  it('are left alone once another of the three has found the end', async () => {
    const command = await hanging();
    const env = { HARNESS_ENDS_MS: '300' };
    const end = await settle('S', [command.pid], { loss: lossNumber('timeout'), env });
    expect(end).toMatchObject({ state: WatchState.ended, tookMs: 300, resumes: [] });
  });
});
