import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT_CODES } from '../../../src/exit-codes.js';
import { messageOf } from '../../../src/errors.js';
import type { ThrowawayDisks } from '../../support/throwaway-filesystem.js';
import {
  checkRestored,
  checkRsyncBackup,
  datedAhead,
  fsbackup,
  listedBackups,
  warnsOnlyOf,
  whatStays,
} from '../aftermath.js';
import { JobRun, type Ending } from '../job-run.js';
import { startNeighbour, type Neighbour, type NeighbourName } from '../load/neighbour.js';
import { environmentOf, writeConfig, type World } from '../worlds/world.js';
import type { DrawnRun, Moment } from './draw.js';
import type { Attack } from './fault.js';

/** What runs are made with. */
export interface Campaign {
  /** What is installed, and the same with boundaries that act. */
  cli: string;
  faultCli: string;
  disks: ThrowawayDisks;
}

/** A line of the results. */
export interface RunResult {
  seed: number;
  index: number;
  environment: string;
  world: string;
  fault: string;
  moment: string;
  engine: string;
  /** What worked on the same filesystem beside the load. */
  neighbour: NeighbourName;
  /** Whether the fault found something to hit. */
  struck: boolean;
  ended: number | string;
  /** What `recover` ended with, where there was something to recover. */
  recover: number | null;
  /** The longest that a writer waited, what it may have, and what the same writer waited on a filesystem never frozen. */
  stallMs: number;
  limitMs: number;
  controlMs: number;
  /** Backups that the run added to those listed as good. */
  good: number;
  seconds: number;
  problems: string[];
}

const SLACK_MS = 100;
const LIMIT_MS = 900_000;

/** How fast programs are where a campaign runs. */
export interface Pace {
  /** From the freeze, whatever becomes of its owner: both deadlines are the same. */
  timeoutMs: number;
  /** About as long as a run takes on a quiet machine. */
  runMs: number;
  /** How long a boundary waits for what is to happen there: synchronously, so the event loop hangs meanwhile. */
  boundaryMs: number;
}

/** Where runs are made. */
export interface Surroundings {
  name: string;
  pace: Pace;
  loadSlower?: number;
}

function momentText(moment: Moment): string {
  return moment.kind === 'time' ? `${moment.afterMs} ms` : moment.name;
}

/** Waits for a moment of a run; a boundary waits itself for many times `pollMs`. */
async function until(moment: Moment, run: JobRun, trace: string, pollMs: number): Promise<void> {
  if (moment.kind === 'time') {
    await Promise.race([sleep(moment.afterMs), run.whenEnded()]);
    return;
  }
  for (let size = 0; !run.hasEnded; await sleep(pollMs)) {
    const now = statSync(trace, { throwIfNoEntry: false })?.size ?? 0;
    if (now !== size && readFileSync(trace, 'utf8').split('\n').includes(moment.name)) return;
    size = now;
  }
}

function isDocumented(ended: number | string): boolean {
  return typeof ended === 'string' || Object.values(EXIT_CODES).some(({ code }) => code === ended);
}

/** An old backup that could not be removed to its end is a warning: the new one is good. The next run goes on with it. */
function warnsOfRemoval({ exitCode }: Ending, said: string): boolean {
  return (
    exitCode === EXIT_CODES.warnings.code && /\/\.removing-\S+ (?:is not|could not be) removed/.test(said)
  );
}

class OneRun {
  readonly problems: string[] = [];
  readonly #drawn: DrawnRun;
  readonly #world: World;
  readonly #campaign: Campaign;
  readonly #pace: Pace;
  readonly #slower: number;
  #neighbour: Neighbour | undefined;
  readonly #undo: (() => Promise<void> | void)[] = [];

  constructor(drawn: DrawnRun, world: World, campaign: Campaign, { pace, loadSlower = 1 }: Surroundings) {
    this.#drawn = drawn;
    this.#world = world;
    this.#campaign = campaign;
    this.#pace = pace;
    this.#slower = loadSlower;
  }

  async #start(trace: string): Promise<{ run: JobRun; attack: Attack }> {
    const { fault, moment, engine, attempts, random } = this.#drawn;
    const world = this.#world;
    const base = {
      world,
      random,
      later: (undo: () => Promise<void> | void) => this.#undo.push(undo),
      report: (problem: string) => this.problems.push(problem),
    };
    const config = await writeConfig(world, {
      engine,
      attempts,
      timeoutMs: this.#pace.timeoutMs,
      maxHoldMs: this.#pace.timeoutMs,
    });
    const before = (await fault.prepare?.(base)) ?? [];
    const cli = moment.kind === 'time' ? this.#campaign.cli : this.#campaign.faultCli;
    const [file, ...args] = [...before, process.execPath, cli, 'run', '--config', config];
    const run = new JobRun([file, ...args], {
      ...environmentOf(world),
      ...(moment.kind === 'time'
        ? {}
        : { FSBACKUP_FAULT: `${moment.name}=delay:${this.#pace.boundaryMs}`, FSBACKUP_FAULT_TRACE: trace }),
    });
    return { run, attack: { ...base, run } };
  }

  async #undoAll(): Promise<void> {
    for (const undo of this.#undo.toReversed()) {
      try {
        await undo();
      } catch (error) {
        this.problems.push(messageOf(error));
      }
    }
  }

  async #check(
    ending: Ending,
    said: string,
    before: readonly string[],
  ): Promise<{ recover: number | null; good: number }> {
    const world = this.#world;
    const { cli, disks } = this.#campaign;
    // Who ends by himself leaves nothing that would have to be recovered, or says so.
    const mayLeave =
      ending.signal !== null ||
      ending.exitCode === EXIT_CODES.cleanupIncomplete.code ||
      warnsOfRemoval(ending, said);
    const remains = mayLeave ? [] : await whatStays(world, disks);
    this.problems.push(...remains.map((one) => `left although it ended by itself: ${one}`));
    const isClean = !mayLeave && remains.length === 0;
    const recovered = isClean ? undefined : await fsbackup(cli, world, 'recover');
    if (recovered !== undefined && recovered.exitCode !== 0)
      this.problems.push(`recover exits ${recovered.exitCode}: ${recovered.stdout}${recovered.stderr}`);
    const left = isClean ? [] : await whatStays(world, disks);
    this.problems.push(...left.map((one) => `left: ${one}`));
    const fresh = (await listedBackups(world)).filter((id) => !before.includes(id));
    for (const id of fresh) {
      const { engine, index, fault } = this.#drawn;
      const compared = { world, ran: ending, movedClock: fault.movesClock, neighbour: this.#neighbour };
      const isPlain = engine === 'rsync' && index % 4 !== 0;
      const wrong = isPlain ? await checkRsyncBackup(compared, id) : await checkRestored(cli, compared, id);
      this.problems.push(...wrong.map((one) => `backup ${id}: ${one}`));
    }
    return { recover: recovered?.exitCode ?? null, good: fresh.length };
  }

  async run(): Promise<Omit<RunResult, 'seed' | 'index' | 'environment' | 'seconds' | 'problems'>> {
    const { fault, moment, engine, world: name, random, neighbour } = this.#drawn;
    const world = this.#world;
    const trace = path.join(world.directory, 'trace');
    rmSync(trace, { force: true });
    if (world.pauseFile !== undefined) writeFileSync(world.pauseFile, `${random.between(0, 4) / 10}`);
    await Promise.all([world.control.begin(), world.load.begin()]);
    this.#neighbour = await startNeighbour(neighbour, world.mountpoint, this.#slower);
    const before = await listedBackups(world);
    const ahead = await datedAhead(world);
    let struck = false;
    const { run, attack } = await this.#start(trace);
    let ending: Ending;
    let isBroken = false;
    try {
      if (fault.strike !== undefined) {
        await until(moment, run, trace, this.#pace.boundaryMs / 25);
        struck = await fault.strike(attack);
      }
      ending = await run.ended(LIMIT_MS);
    } finally {
      isBroken = struck && fault.breaks === 'origin';
      await this.#undoAll();
      // It writes what must not be frozen any more; who waits for that says so.
      await this.#neighbour?.stop().catch((error: unknown) => {
        if (!isBroken) this.problems.push(messageOf(error));
      });
    }
    if (!isBroken) await world.load.writes(LIMIT_MS);
    const controlMs = world.control.longestStallMs(run.beginMs);
    const stallMs = world.load.longestStallMs(run.beginMs);
    const limitMs = this.#pace.timeoutMs + SLACK_MS + controlMs + (fault.ownStallMs ?? 0);
    // Who writes to what is broken has given up.
    if (stallMs > limitMs && !isBroken)
      this.problems.push(`a writer waited ${stallMs.toFixed(0)} ms of ${limitMs.toFixed(0)}`);
    const ended = ending.signal ?? ending.exitCode ?? 'nothing';
    const said = `${run.stdout}${run.stderr}`;
    // The clock was moved in an earlier run, or was moved back in this one: then any may be ahead, its own too.
    const told = fault.movesClock === true ? await listedBackups(world) : ahead;
    const isToldOfClock = ended === EXIT_CODES.warnings.code && warnsOnlyOf(told, said);
    if (!isDocumented(ended) || !(fault.outcomes.includes(ended) || isToldOfClock))
      this.problems.push(`it ended with ${ended}: ${said.slice(-1500)}`);
    world.control.rest();
    world.load.rest();
    const checked = await this.#check(ending, said, before);
    if (isBroken) await world.repair?.();
    const recorded = {
      stallMs: Math.round(stallMs),
      limitMs: Math.round(limitMs),
      controlMs: Math.round(controlMs),
    };
    return {
      world: name,
      fault: fault.name,
      moment: momentText(moment),
      engine,
      neighbour,
      struck: struck || fault.strike === undefined,
      ended,
      ...checked,
      ...recorded,
    };
  }
}

/** Does one run, and checks what a run must leave behind. Never rejects for what the run did: that is a problem. */
export async function doRun(
  drawn: DrawnRun,
  world: World,
  campaign: Campaign,
  environment: Surroundings,
): Promise<RunResult> {
  const { seed, index, fault, moment, engine, neighbour } = drawn;
  const one = new OneRun(drawn, world, campaign, environment);
  const begun = performance.now();
  const key = { seed, index, environment: environment.name };
  const unknown = {
    struck: false,
    ended: 'unknown',
    recover: null,
    stallMs: 0,
    limitMs: 0,
    controlMs: 0,
    good: 0,
  };
  const drawnText = { world: world.name, fault: fault.name, moment: momentText(moment), engine, neighbour };
  const result = await one.run().catch((error: unknown) => {
    one.problems.push(messageOf(error));
    return { ...drawnText, ...unknown };
  });
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  return { ...key, ...result, seconds, problems: one.problems };
}
