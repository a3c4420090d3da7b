import { expect, it } from 'vitest';
import { isSpent } from '../../chaos/campaign/budget.js';

const BUDGET = { ms: 1000, atLeast: 5 };

it.each([
  { done: 4, elapsedMs: 1001, spent: false },
  { done: 5, elapsedMs: 1001, spent: true },
  { done: 5, elapsedMs: 1000, spent: false },
  { done: 20, elapsedMs: 10, spent: false },
  { done: 0, elapsedMs: 1_000_000, spent: false },
])('$done runs in $elapsedMs ms of 1000, five at least: spent is $spent', ({ done, elapsedMs, spent }) => {
  expect(isSpent(BUDGET, done, elapsedMs)).toBe(spent);
});
