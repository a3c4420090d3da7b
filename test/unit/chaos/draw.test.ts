import { describe, expect, it } from 'vitest';
import { drawRun } from '../../chaos/campaign/draw.js';
import { ENVIRONMENTS } from '../../chaos/campaign/environments.js';
import { Random } from '../../chaos/campaign/random.js';

function draws(seed: number, count: number) {
  const host = ENVIRONMENTS['host'];
  if (host === undefined) throw new Error('no host');
  return Array.from({ length: count }, (_, index) =>
    drawRun(seed, index, host.worlds, host.faults, host.pace.runMs),
  );
}

describe('a campaign', () => {
  it('draws the same runs from the same seed, and others from another', () => {
    const shown = (seed: number) =>
      draws(seed, 50).map(({ world, fault, moment, engine }) =>
        JSON.stringify([world, fault.name, moment, engine]),
      );
    expect(shown(7)).toEqual(shown(7));
    expect(shown(7)).not.toEqual(shown(8));
  });

  it('draws every world and every fault before long', () => {
    const drawn = draws(1, 1000);
    const { worlds = [], faults = [] } = ENVIRONMENTS['host'] ?? {};
    expect(new Set(drawn.map(({ world }) => world))).toEqual(new Set(worlds.map(({ name }) => name)));
    expect(new Set(drawn.map(({ fault }) => fault.name))).toEqual(new Set(faults.map(({ name }) => name)));
  });

  it('draws no fault for a world that cannot have it', () => {
    const btrfs = draws(3, 500).filter(({ world }) => world === 'btrfs-snapshot');
    expect(btrfs.map(({ fault }) => fault.name)).not.toContain('kill watchdog');
  });
});

describe('numbers from a seed', () => {
  it('lie within their bounds and reach both', () => {
    const random = new Random(42);
    const drawn = new Set(Array.from({ length: 200 }, () => random.between(3, 6)));
    expect(drawn).toEqual(new Set([3, 4, 5, 6]));
  });
});
