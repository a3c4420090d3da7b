import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { buildWithFaults, type FaultBuild } from '../support/fault-build/build.js';
import { listFaultPoints, type FaultPoint } from '../support/fault-points.js';
import { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import { checkRsyncBackup, fsbackup, listedBackups, whatIsLeft } from './aftermath.js';
import { outcomesOf, provocationOf, snapshotSeconds, type Action } from './fault-point-outcomes.js';
import { JobRun } from './job-run.js';
import { buildLoad } from './load/load.js';
import { readProcess } from './processes.js';
import { HOST_WORLDS } from './worlds/host-worlds.js';
import { environmentOf, writeConfig, type World } from './worlds/world.js';

/** The longest that a freeze may last, however its owner fares. */
const TIMEOUT_MS = 2000;
const LIMIT_MS = 60_000;
/** One at a time each; runs of different ones wait for their deadlines side by side. */
const LANES = 3;

interface Lane {
  disks: ThrowawayDisks;
  worlds: Map<string, World>;
}

const lanes: Lane[] = [];
const idle: Lane[] = [];
const waiting: ((lane: Lane) => void)[] = [];
let build: FaultBuild;
let loadProgram: string;
const shared = new ThrowawayDisks();

async function withLane<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
  const lane = idle.pop() ?? (await new Promise<Lane>((resolve) => waiting.push(resolve)));
  try {
    return await work(lane);
  } finally {
    const next = waiting.shift();
    if (next === undefined) idle.push(lane);
    else next(lane);
  }
}

async function worldOf(lane: Lane, name: string): Promise<World> {
  const known = lane.worlds.get(name);
  if (known !== undefined) return known;
  const world = await HOST_WORLDS[name]?.({ disks: lane.disks, loadProgram });
  if (world === undefined) throw new Error(`no world ${name}`);
  lane.worlds.set(name, world);
  return world;
}

const WORLD_OF: Readonly<Record<string, string>> = { btrfs: 'btrfs-snapshot', command: 'ext4-command' };

/** What is stopped goes on once it was seen that nobody waits for it; guards are left to whoever must live without them. */
async function continueWhenThawed(run: JobRun, world: World, trace: string, name: string): Promise<void> {
  while (!run.hasEnded) {
    const isHit = existsSync(trace) && readFileSync(trace, 'utf8').split('\n').includes(name);
    if (isHit && readProcess(run.pid)?.state === 'T') {
      await world.load.writes(LIMIT_MS);
      run.child.kill('SIGCONT');
    }
    await sleep(10);
  }
}

async function attack(lane: Lane, { name }: FaultPoint, action: Action) {
  const seconds = snapshotSeconds(name, TIMEOUT_MS);
  const kind = seconds > 0 ? 'command' : (name.split('.')[0] ?? '');
  const world = await worldOf(lane, WORLD_OF[kind] ?? 'ext4-reflink-xfs');
  if (world.pauseFile !== undefined) writeFileSync(world.pauseFile, String(seconds));
  const trace = path.join(world.directory, 'trace');
  rmSync(trace, { force: true });
  const config = await writeConfig(world, { engine: 'rsync', attempts: 1, timeoutMs: TIMEOUT_MS, maxHoldMs: TIMEOUT_MS });
  await world.load.begin();
  const before = await listedBackups(world);
  const faults = [`${name}=${action}`, ...provocationOf(name)];
  const run = new JobRun([process.execPath, build.cli, 'run', '--config', config], {
    ...environmentOf(world),
    FSBACKUP_FAULT: faults.join(','),
    FSBACKUP_FAULT_TRACE: trace,
  });
  const continuing = continueWhenThawed(run, world, trace, name);
  continuing.catch(() => undefined);
  const ending = await run.ended(LIMIT_MS);
  await continuing;
  await world.load.writes(LIMIT_MS);
  const stalledMs = world.load.longestStallMs(run.beginMs);
  const allowedMs = TIMEOUT_MS + 100 + world.control.longestStallMs(run.beginMs);
  // Who ends by himself leaves nothing to recover.
  const isToRecover = ending.signal !== null || ending.exitCode === 60;
  const recovered = isToRecover ? await fsbackup(build.cli, world, 'recover', '--json') : undefined;
  const fresh = (await listedBackups(world)).filter((id) => !before.includes(id));
  const wrong: string[] = [];
  for (const id of fresh) wrong.push(...(await checkRsyncBackup(world, id, ending)));
  return {
    said: run.stderr + run.stdout,
    hits: readFileSync(trace, 'utf8').split('\n'),
    ended: ending.signal ?? ending.exitCode,
    stalledMs,
    allowedMs,
    recovered,
    wrong,
    left: await whatIsLeft(world, lane.disks),
  };
}

const HOST_POINTS = listFaultPoints();
const CASES = HOST_POINTS.flatMap((point) =>
  (['kill', 'stop', 'fail:EIO'] as const)
    .filter((action) => action !== 'fail:EIO' || point.canFail)
    .map((action): [string, Action, FaultPoint] => [point.name, action, point]),
);

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'btrfs', 'program:rsync', 'program:cc'], 'a boundary', () => {
  beforeAll(async () => {
    build = await buildWithFaults();
    loadProgram = await buildLoad(shared.directory);
    for (let count = 0; count < LANES; count += 1) lanes.push({ disks: new ThrowawayDisks(), worlds: new Map() });
    idle.push(...lanes);
  });

  afterAll(async () => {
    for (const { disks, worlds } of lanes) {
      for (const { load, control } of worlds.values()) {
        await load.stop();
        await control.stop();
      }
      await disks.dispose();
    }
    await shared.dispose();
    await build.remove();
  });

  it.concurrent.each(CASES)('%s, made to %s', async (_name, action, point) => {
    await withLane(async (lane) => {
      const outcome = await attack(lane, point, action);
      appendFileSync('/tmp/matrix.jsonl', JSON.stringify({ n: point.name, action, ...outcome, hit: outcome.hits.includes(point.name), hits: 0 }) + '\n');
      expect(outcome.hits, outcome.said).toContain(point.name);
      expect(outcomesOf(point, action), outcome.said).toContain(outcome.ended);
      expect(outcome.stalledMs).toBeLessThan(outcome.allowedMs);
      expect(outcome.recovered?.exitCode ?? 0, outcome.recovered?.stdout).toBe(0);
      expect(outcome.left).toEqual([]);
      expect(outcome.wrong).toEqual([]);
    });
  });
});
