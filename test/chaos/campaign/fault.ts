import type { JobRun } from '../job-run.js';
import type { World } from '../worlds/world.js';
import type { DrawableWorld } from './draw.js';
import type { Random } from './random.js';

/** How a run may end: exit codes, and the names of signals. */
export type Outcomes = readonly (number | string)[];

/** What a fault works with while its run goes on. */
export interface Attack {
  world: World;
  run: JobRun;
  random: Random;
  /** Undone after the run, before `recover`, whatever became of it; the last first. */
  later: (undo: () => Promise<void> | void) => void;
  /** What was found to be wrong beside what every run is checked for. */
  report: (problem: string) => void;
}

/** Something that goes wrong. */
export interface Fault {
  name: string;
  /** Which worlds it can happen in; all when left out. */
  suits?: (world: DrawableWorld) => boolean;
  /** Before the start: what to put before the command line, `sh -c …`. */
  prepare?: (attack: Omit<Attack, 'run'>) => Promise<readonly string[]>;
  /** At the drawn moment. Resolves to whether it could: what is to be hit may be over. */
  strike?: (attack: Attack) => Promise<boolean>;
  /** For how long writers were held up on account of the fault itself. */
  ownStallMs?: number;
  /** The times that a run notes are not to be compared with those of the load. */
  movesClock?: true;
  /** What it hits is broken afterwards, as its filesystem will have it, and is to be repaired. */
  breaks?: 'origin';
  outcomes: Outcomes;
}
