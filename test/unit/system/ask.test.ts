import { expect, it } from 'vitest';
import { isInBackground } from '../../../src/system/ask.js';

it.each([
  ['in front', '7 (node) S 1 7 7 34816 7 4194304 0', false],
  ['in the background', '7 (node) S 1 7 5 34816 5 4194304 0', true],
  ['without a terminal', '7 (node) S 1 7 5 0 -1 4194304 0', false],
  ['behind a foreground that is in another PID namespace', '7 (node) S 1 7 5 34816 0 4194304 0', false],
  ['whatever its name', '7 (a) S 1 7 5) S 1 7 5 34816 7 4194304 0', false],
])('a process is known %s', (_, stat, expected) => {
  expect(isInBackground(stat)).toBe(expected);
});
