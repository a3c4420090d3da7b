import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import type { FaultPoint } from '../support/fault-points.js';
import { checkRestored, checkRsyncBackup, fsbackup, listedBackups, whatStays } from './aftermath.js';
import { provocationOf, snapshotSeconds, type Action } from './fault-point-outcomes.js';
import { JobRun } from './job-run.js';
import { readProcess } from './processes.js';
import { environmentOf, writeConfig, type World } from './worlds/world.js';

/** The longest that a freeze may last, however its owner fares, unless an attacker says otherwise. */
const TIMEOUT_MS = 2000;
/** Only against hanging: an emulated guest needs many seconds for each program. */
const LIMIT_MS = 600_000;

/** What an attack on a boundary is made with. */
export interface Attacker {
  faultCli: string;
  disks: ThrowawayDisks;
  world: World;
  /** Of the freeze; two seconds where a program starts at once. */
  timeoutMs?: number;
}

/** What became of a run in which a boundary was made to do something. */
export interface Survival {
  said: string;
  hits: readonly string[];
  ended: number | string | null;
  stalledMs: number;
  allowedMs: number;
  /** Of `recover`, where there was need of it; else 0. */
  recoverExitCode: number | null;
  /** What is wrong with backups that are listed as good. */
  wrong: readonly string[];
  left: readonly string[];
}

/** What is stopped goes on once it was seen that nobody waits for it; guards are left to whoever must live without them. */
async function continueWhenThawed(
  run: JobRun,
  world: World,
  trace: string,
  { name, pollMs }: { name: string; pollMs: number },
): Promise<void> {
  while (!run.hasEnded) {
    const isHit = existsSync(trace) && readFileSync(trace, 'utf8').split('\n').includes(name);
    if (isHit && readProcess(run.pid)?.state === 'T') {
      await world.load.writes(LIMIT_MS);
      run.child.kill('SIGCONT');
    }
    await sleep(pollMs);
  }
}

/** Whether the snapshots of this boundary's test must take their time, and so be a command's. */
export function needsCommand({ name }: FaultPoint): boolean {
  return snapshotSeconds(name, TIMEOUT_MS) > 0;
}

/** Runs the job of a world once, with a boundary that is made to do something. */
export async function attackBoundary(
  { faultCli, disks, world, timeoutMs = TIMEOUT_MS }: Attacker,
  { name }: FaultPoint,
  action: Action,
): Promise<Survival> {
  if (world.pauseFile !== undefined) writeFileSync(world.pauseFile, String(snapshotSeconds(name, timeoutMs)));
  const trace = path.join(world.directory, 'trace');
  rmSync(trace, { force: true });
  const shape = { engine: world.engine ?? 'rsync', attempts: 1, timeoutMs, maxHoldMs: timeoutMs };
  const config = await writeConfig(world, shape);
  await world.control.begin();
  await world.load.begin();
  const before = await listedBackups(world);
  const run = new JobRun([process.execPath, faultCli, 'run', '--config', config], {
    ...environmentOf(world),
    FSBACKUP_FAULT: [`${name}=${action}`, ...provocationOf(name)].join(','),
    FSBACKUP_FAULT_TRACE: trace,
  });
  const continuing = continueWhenThawed(run, world, trace, { name, pollMs: timeoutMs / 200 });
  continuing.catch(() => undefined);
  const ending = await run.ended(LIMIT_MS);
  await continuing;
  await world.load.writes(LIMIT_MS);
  const stalledMs = world.load.longestStallMs(run.beginMs);
  const allowedMs = timeoutMs + 100 + world.control.longestStallMs(run.beginMs);
  world.control.rest();
  world.load.rest();
  // Who ends by himself leaves nothing to recover.
  const isToRecover = ending.signal !== null || ending.exitCode === 60;
  const recovered = isToRecover ? await fsbackup(faultCli, world, 'recover', '--json') : undefined;
  const fresh = (await listedBackups(world)).filter((id) => !before.includes(id));
  const wrong: string[] = [];
  for (const id of fresh) {
    const compared = { world, ran: ending };
    wrong.push(
      ...(world.engine === undefined
        ? await checkRsyncBackup(compared, id)
        : await checkRestored(faultCli, compared, id)),
    );
  }
  return {
    said: run.stderr + run.stdout,
    hits: existsSync(trace) ? readFileSync(trace, 'utf8').split('\n') : [],
    ended: ending.signal ?? ending.exitCode,
    stalledMs,
    allowedMs,
    recoverExitCode: recovered === undefined ? 0 : recovered.exitCode,
    wrong,
    left: await whatStays(world, disks),
  };
}
