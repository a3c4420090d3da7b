import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { armFreezer } from '../src/freeze/arm-freezer.js';
import type { StatusJson } from '../test/support/freeze-harness.js';
import { CLI, inWorld, monotonicMs, mustRun, StallWriter, timed, type BenchWorld } from './bench-world.js';
import { median, type Figure } from './measure.js';

function hold(world: BenchWorld, timeoutSeconds: number): ChildProcess {
  const args = ['freeze', '--timeout', String(timeoutSeconds), world.inner.mountpoint, '--', 'sleep', '60'];
  return spawn(process.execPath, [CLI, ...args], {
    cwd: '/',
    stdio: 'ignore',
    env: { ...process.env, ...world.environment },
  });
}

async function status(world: BenchWorld): Promise<StatusJson> {
  const { stdout } = await mustRun([process.execPath, CLI, 'status', '--json'], world.environment);
  return JSON.parse(stdout) as StatusJson;
}

async function untilFrozen(world: BenchWorld): Promise<StatusJson['frozen'][number]> {
  for (let tries = 0; tries < 100; tries += 1) {
    const frozen = (await status(world)).frozen.find((entry) => entry.state === 'frozen');
    if (frozen !== undefined) return frozen;
  }
  throw new Error('it was never frozen');
}

/** When the writer got through again after `sinceMs`. */
async function thawedAt(writer: StallWriter, sinceMs: number): Promise<number> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const stall = writer.stalls.find(({ beginMs, endMs }) => beginMs < sinceMs && endMs > sinceMs);
    if (stall !== undefined) return stall.endMs;
    await sleep(10);
  }
  throw new Error('the writer never got through');
}

/** From SIGKILL of the command to the first write that gets through. */
async function afterKill(world: BenchWorld, writer: StallWriter): Promise<number> {
  const cli = hold(world, 30);
  await untilFrozen(world);
  const killedAt = monotonicMs();
  cli.kill('SIGKILL');
  return (await thawedAt(writer, killedAt)) - killedAt;
}

/** How late the first write gets through after the deadline of a command that was stopped. */
async function afterTimeout(world: BenchWorld, writer: StallWriter): Promise<number> {
  const cli = hold(world, 2);
  await untilFrozen(world);
  cli.kill('SIGSTOP');
  // Asked after the stop: no heartbeat moves the deadline any more.
  const { expiresAt } = await untilFrozen(world);
  const now = Date.now();
  const deadline = monotonicMs() + Date.parse(expiresAt ?? '') - now;
  const late = (await thawedAt(writer, deadline - 100)) - deadline;
  cli.kill('SIGKILL');
  await once(cli, 'exit');
  return late;
}

async function arm(world: BenchWorld): Promise<number> {
  const { mountpoint, majorMinor, device, fstype } = world.inner;
  const target = { mountpoint, majorMinor, device, fstype };
  const begun = performance.now();
  const freezer = await armFreezer(
    { targets: [target], devices: [] },
    { timeoutMs: 10_000, maxHoldMs: 60_000 },
  );
  const took = performance.now() - begun;
  await freezer.close();
  return took;
}

/** (c) how fast the dead-man is, and what it costs to arm. */
export async function benchDeadman(samples: number): Promise<Figure[]> {
  return await inWorld(async (world) => {
    Object.assign(process.env, world.environment);
    const arms: number[] = [];
    // The first loads the addon.
    await arm(world);
    for (let sample = 0; sample < samples; sample += 1) arms.push(await arm(world));
    const writer = await StallWriter.start(`${world.inner.mountpoint}/writer`);
    const kills: number[] = [];
    const timeouts: number[] = [];
    try {
      for (let sample = 0; sample < samples; sample += 1) {
        kills.push(await afterKill(world, writer));
        timeouts.push(await afterTimeout(world, writer));
      }
    } finally {
      await writer.stop();
    }
    return [
      { what: 'SIGKILL of the command to thawed', ours: median(kills), unit: 'ms', limit: 10, samples },
      { what: 'thawed after the deadline', ours: median(timeouts), unit: 'ms', limit: 20, samples },
      { what: 'start and arm both watchdogs', ours: median(arms), unit: 'ms', limit: 20, samples },
    ];
  });
}

/** (d) how long a frozen server waits for `fsbackup thaw`. */
export async function benchThaw(
  samples: number,
  emptyCommand: readonly [string, ...string[]],
): Promise<Figure> {
  return await inWorld(async (world) => {
    const writer = await StallWriter.start(`${world.inner.mountpoint}/writer`);
    const ours: number[] = [];
    const theirs: number[] = [];
    try {
      for (let sample = 0; sample < samples; sample += 1) {
        theirs.push(await timed(() => mustRun(emptyCommand)));
        await mustRun([process.execPath, CLI, 'freeze', world.inner.mountpoint], world.environment);
        await sleep(50);
        const begun = monotonicMs();
        await mustRun([process.execPath, CLI, 'thaw', world.inner.mountpoint], world.environment);
        ours.push((await thawedAt(writer, begun)) - begun);
      }
    } finally {
      await writer.stop();
    }
    return {
      what: 'fsbackup thaw, from start to thawed',
      ours: median(ours),
      unit: 'ms',
      baseline: { what: 'an empty oclif command', value: median(theirs) },
      limit: 1.1,
      samples,
    };
  });
}
