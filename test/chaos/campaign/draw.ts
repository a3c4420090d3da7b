import { listFaultPoints } from '../../support/fault-points.js';
import { NEIGHBOURS, type NeighbourName } from '../load/neighbour.js';
import type { Fault } from './fault.js';
import { Random } from './random.js';

/** When a fault happens: so long after the start, or at a boundary, which then waits for it. */
export type Moment = { kind: 'time'; afterMs: number } | { kind: 'boundary'; name: string };

/** One run of the campaign, before it is begun: all of it follows from the seed and its index. */
export interface DrawnRun {
  seed: number;
  index: number;
  world: string;
  fault: Fault;
  moment: Moment;
  engine: string;
  attempts: number;
  neighbour: NeighbourName;
  /** For what a fault needs further: a limit, a duration. */
  random: Random;
}

const ENGINES = ['rsync', 'rsync', 'rsync', 'tar'] as const;

/** Boundaries of the command line's own, in a world with this provider. */
function boundariesFor(provider: string): string[] {
  return listFaultPoints()
    .filter(({ file }) => file.startsWith('src/'))
    .map(({ name }) => name)
    .filter((name) => {
      const [kind = ''] = name.split('.');
      return kind === provider || ['run', 'window', 'snapshot', 'exposure', 'copy', 'quiesce'].includes(kind);
    });
}

/** What a world is called, and what the draw has to know of it. */
export interface DrawableWorld {
  name: string;
  provider: string;
  freezes: boolean;
  hasSnapshotProgram: boolean;
  /** Whether its storage and its target can be told to stall and to fail. */
  hasSwitchableDisks?: true;
}

/** Draws the run of this index; `runMs` is about as long as a run takes on a quiet machine. */
export function drawRun(
  seed: number,
  index: number,
  worlds: readonly DrawableWorld[],
  faults: readonly Fault[],
  runMs: number,
): DrawnRun {
  const random = new Random(seed, index);
  const world = random.pick(worlds);
  const fault = random.pick(faults.filter((one) => one.suits?.(world) ?? true));
  const boundaries = boundariesFor(world.provider);
  // The window is short: half of the faults that are aimed at a boundary are aimed into it.
  const inWindow = boundaries.filter(
    (name) => name.startsWith('window.') || /\.(?:cloned|created)$/.test(name),
  );
  const moments: Moment[] = [
    { kind: 'time', afterMs: random.between(0, runMs) },
    { kind: 'boundary', name: random.pick(boundaries) },
    { kind: 'boundary', name: random.pick(world.freezes ? inWindow : boundaries) },
  ];
  return {
    seed,
    index,
    world: world.name,
    fault,
    moment: random.pick(moments),
    engine: random.pick(ENGINES),
    attempts: random.between(1, 2),
    neighbour: random.pick(NEIGHBOURS),
    random,
  };
}
