import { readdir, readFile, rm, mkdtemp } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { begunAt } from '../../src/copy/backup/backup-layout.js';
import { readMounts } from '../../src/system/mountinfo.js';
import type { RunReport } from '../../src/report/run-report.js';
import { IS_IN_GUEST } from '../support/in-guest.js';
import type { ThrowawayDisks } from '../support/throwaway-filesystem.js';
import { JobRun } from './job-run.js';
import { checkTree, type SnapshotInterval } from './load/check-tree.js';
import { monotonicMs } from './load/load.js';
import { NEIGHBOUR_DIRECTORY, type Neighbour } from './load/neighbour.js';
import { processesUsing } from './processes.js';
import { environmentOf, JOB, type World } from './worlds/world.js';

/** Only against hanging: an emulated guest needs many seconds for each program. */
const LIMIT_MS = 600_000;
/** Two clocks are compared, each read by another process. */
const CLOCK_SLACK_MS = 20;

async function namesIn(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => []);
}

/** Everything of ours that is still there, named; and everything of others that is not. */
async function whatIsLeft(world: World, disks: ThrowawayDisks): Promise<string[]> {
  const { FSBACKUP_RUN_DIR: run = '', FSBACKUP_STATE_DIR: state = '' } = environmentOf(world);
  const left = await world.findLeft();
  const mounts = await readMounts();
  const own = [world.directory, world.mountpoint, world.target.mountpoint];
  const ours = mounts.filter(({ mountpoint }) => mountpoint.startsWith(`${run}/`));
  for (const { mountpoint } of ours) left.push(`mount ${mountpoint}`);
  for (const device of (await disks.unmade()).loopDevices) {
    const backing = await readFile(`/sys/block/${path.basename(device)}/loop/backing_file`, 'utf8').catch(
      () => '',
    );
    if (backing.includes(world.name)) left.push(`loop device ${device} of ${backing.trim()}`);
  }
  for (const directory of [run, state]) {
    for (const name of await namesIn(path.join(directory, 'journal')))
      if (name.endsWith('.json')) left.push(`journal entry ${name}`);
  }
  for (const name of await namesIn(path.join(run, 'control'))) left.push(`control socket ${name}`);
  for (const { pid, comm, state: status } of processesUsing(world.directory))
    left.push(`process ${pid} ${comm} ${status}`);
  for (const { pid, comm } of processesUsing(world.target.mountpoint)) left.push(`process ${pid} ${comm}`);
  for (const name of await namesIn(path.join(world.target.mountpoint, JOB))) {
    const files = await namesIn(path.join(world.target.mountpoint, JOB, name));
    // What was copied stays for the next run, one of it, under a name and with a note that say so.
    if (name === `.incomplete-${os.hostname()}` && files.includes('digests.gz.resume')) continue;
    if (!files.includes('manifest.json')) left.push(`incomplete backup ${name}: ${files.join(' ')}`);
  }
  for (const mountpoint of own.slice(1))
    if (!mounts.some((mount) => mount.mountpoint === mountpoint)) left.push(`MISSING: mount ${mountpoint}`);
  return left;
}

/** How long guards may take to end, one of them stopped, once nothing is frozen: seconds, on a busy machine more. */
const SETTLE_MS = 45_000;
const LOOK_MS = IS_IN_GUEST ? 500 : 100;

/** As `whatIsLeft`, once those that end by themselves had the time to. */
export async function whatStays(world: World, disks: ThrowawayDisks): Promise<string[]> {
  for (const giveUpAt = monotonicMs() + SETTLE_MS; ; await sleep(LOOK_MS)) {
    const left = await whatIsLeft(world, disks);
    if (left.length === 0 || monotonicMs() > giveUpAt) return left;
  }
}

/** When a run took its snapshot, by its own report; within the time that it ran. */
export function snapshotInterval(report: RunReport, ran: SnapshotInterval): SnapshotInterval {
  const offsetMs = monotonicMs() - Date.now();
  const [source] = report.sources;
  if (source === undefined || source.snapshotStartedAt === null || source.snapshotFinishedAt === null)
    return ran;
  return {
    beginMs: Math.max(ran.beginMs, Date.parse(source.snapshotStartedAt) + offsetMs - CLOCK_SLACK_MS),
    endMs: Math.min(ran.endMs, Date.parse(source.snapshotFinishedAt) + offsetMs + CLOCK_SLACK_MS),
  };
}

/** Runs a command of fsbackup in a world, to its end. */
export async function fsbackup(
  cli: string,
  world: World,
  ...args: string[]
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const run = new JobRun([process.execPath, cli, ...args], environmentOf(world));
  const { exitCode } = await run.ended(LIMIT_MS);
  return { exitCode, stdout: run.stdout, stderr: run.stderr };
}

interface Manifest {
  backupId: string;
  completedAt: string;
  unreadable: string[];
  report: RunReport;
}

/** The ids of the backups that are listed as good. */
export async function listedBackups(world: World): Promise<string[]> {
  const directory = path.join(world.target.mountpoint, JOB);
  const listed: string[] = [];
  for (const name of await namesIn(directory)) {
    if ((await namesIn(path.join(directory, name))).includes('manifest.json')) listed.push(name);
  }
  return listed;
}

/** What a backup that is listed as good says of itself. */
async function readManifest(world: World, backupId: string): Promise<Manifest> {
  const file = path.join(world.target.mountpoint, JOB, backupId, 'manifest.json');
  return JSON.parse(await readFile(file, 'utf8')) as Manifest;
}

/** Those that are dated in the future, since the clock was moved while they were made and is right again. */
export async function datedAhead(world: World): Promise<string[]> {
  const ahead: string[] = [];
  for (const id of await listedBackups(world)) {
    const times = [begunAt(id).getTime(), Date.parse((await readManifest(world, id)).completedAt)];
    if (times.some((time) => time > Date.now())) ahead.push(id);
  }
  return ahead;
}

/** Whether all that a run warns of are these backups, for being dated in the future. */
export function warnsOnlyOf(ahead: readonly string[], said: string): boolean {
  const warnings = [...said.matchAll(/^\S+: warning: (.+)$/gm)].map(([, warning = '']) => warning);
  const isOfThem = (warning: string): boolean =>
    ahead.some((id) => warning.startsWith(`${JOB}@${id} in `) && warning.includes(' is dated in the future'));
  return warnings.length > 0 && warnings.every(isOfThem);
}

/** The run that a backup is of, and what it is held against. */
export interface Compared {
  world: World;
  ran: SnapshotInterval;
  /** The times that the run noted are not to be compared with those of the load. */
  movedClock?: boolean | undefined;
  neighbour?: Neighbour | undefined;
}

/** What is wrong with a tree of a backup, a line each: against what the load says that it had done when it was taken. */
async function checkCopied(
  { world, ran, movedClock = false, neighbour }: Compared,
  backupId: string,
  tree: string,
): Promise<string[]> {
  const { report, unreadable } = await readManifest(world, backupId);
  const interval = movedClock ? ran : snapshotInterval(report, ran);
  const isCrash = report.sources[0]?.provider === 'btrfs';
  const beside = path.join(tree, NEIGHBOUR_DIRECTORY);
  return [
    ...unreadable.map((name) => `unreadable: ${name}`),
    ...(await checkTree(tree, world.load.log, interval, isCrash)),
    ...((await neighbour?.check(beside, movedClock ? undefined : interval)) ?? []),
  ];
}

/** Looks at a backup of rsync where it lies. */
export async function checkRsyncBackup(compared: Compared, backupId: string): Promise<string[]> {
  const { target, mountpoint } = compared.world;
  const data = path.join(target.mountpoint, JOB, backupId, 'data');
  return await checkCopied(compared, backupId, path.join(data, mountpoint));
}

/** Restores a backup of any engine, and looks at that in the same way. */
export async function checkRestored(cli: string, compared: Compared, backupId: string): Promise<string[]> {
  const { world } = compared;
  const directory = await mkdtemp(path.join(world.directory, 'restored-'));
  const to = path.join(directory, 'to');
  const where = ['--from', world.target.mountpoint, '--to', to];
  try {
    const { exitCode, stderr } = await fsbackup(cli, world, 'restore', `${JOB}@${backupId}`, ...where);
    if (exitCode !== 0) return [`restore exits ${exitCode}: ${stderr}`];
    return await checkCopied(compared, backupId, path.join(to, world.mountpoint));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
