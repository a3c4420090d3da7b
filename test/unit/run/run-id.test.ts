import { expect, it } from 'vitest';
import { makeRunId } from '../../../src/run/run-id.js';

it('names a run by its second and something random', () => {
  expect(makeRunId(new Date('2026-11-23T18:45:00.123Z'), Buffer.from([0x1a, 0x2b, 0x3c]))).toBe(
    '20261123T184500Z-1a2b3c',
  );
});
