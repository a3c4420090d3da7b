import { describe, expect, it } from 'vitest';
import { shareOut } from '../../../lab/test-run.js';

describe("a machine's processors, shared out among guests", () => {
  it.each([
    // [guests, processors of the machine, guests at a time, processors of each]
    [1, 2, 1, 2],
    [4, 2, 1, 2],
    [4, 3, 1, 2],
    [4, 4, 2, 2],
    [4, 16, 4, 2],
    [3, 1, 1, 1],
    [1, 1, 1, 1],
  ])('%i guests on %i processors: %i at a time, with %i each', (guests, processors, atOnce, cpus) => {
    expect(shareOut(guests, processors)).toEqual({ guests: atOnce, cpus });
  });
});
