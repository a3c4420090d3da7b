import { expect, it } from 'vitest';
import { closest } from '../../../src/suggest.js';

it.each([
  ['exlude', 'exclude'],
  ['tiemout', 'timeout'],
  ['MAXHOLD', 'maxHold'],
  ['soruces', 'sources'],
  ['atempts', 'attempts'],
])('takes %s for %s', (word, meant) => {
  expect(closest(word, ['exclude', 'timeout', 'maxHold', 'sources', 'attempts'])).toBe(meant);
});

it('prefers the nearest, and offers nothing that is far', () => {
  expect(closest('targt', ['targets', 'target'])).toBe('target');
  expect(closest('retention', ['version', 'freeze'])).toBeUndefined();
  expect(closest('', ['a'])).toBe('a');
  expect(closest('x', [])).toBeUndefined();
});
