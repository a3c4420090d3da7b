import { expect, it } from 'vitest';
import { escapePath, unescapePath } from '../../../src/system/mountinfo.js';

it('writes a path as mountinfo does', () => {
  const name = '/a b\tc\nd\\e/ä';
  expect(escapePath(name)).toBe(String.raw`/a\040b\011c\012d\134e/ä`);
  expect(unescapePath(escapePath(name))).toBe(name);
});
