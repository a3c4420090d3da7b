import { expect, it } from 'vitest';
import { describeTaken, firstTaken } from '../../../src/report/instants.js';

const [FIRST, LATER] = ['2026-01-02T03:04:05.249Z', '2026-01-02T03:04:06.000Z'];

it.each([
  ['nothing', [], undefined, null],
  ['a live tree', [['/a', null]], undefined, null],
  ['one time', [['/a', LATER]], LATER, LATER],
  [
    'the same time',
    [
      ['/a', FIRST],
      ['/b', FIRST],
    ],
    FIRST,
    FIRST,
  ],
  [
    'two times',
    [
      ['/a', LATER],
      ['/b', FIRST],
    ],
    `/a ${LATER}, /b ${FIRST}`,
    FIRST,
  ],
  [
    'one time, and a live tree',
    [
      ['/a', LATER],
      ['/b', null],
    ],
    `/a ${LATER}`,
    LATER,
  ],
] as const)('the data of a backup is of %s', (_, taken, told, first) => {
  const sources = taken.map(([mountpoint, snapshotStartedAt]) => ({ mountpoint, snapshotStartedAt }));
  expect(describeTaken(sources)).toBe(told);
  expect(firstTaken(sources)).toBe(first);
});
