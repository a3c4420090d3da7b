import { expect, it } from 'vitest';
import { canAdminister, requirePrivilege } from '../../../src/system/privilege.js';

const ROOT = 'Name:\tnode\nCapEff:\t000001ffffffffff\n';
/** What docker grants by default: CAP_CHOWN and some more, not CAP_SYS_ADMIN. */
const CONTAINER = 'Name:\tnode\nCapEff:\t00000000a80425fb\n';

it.each([
  [ROOT, true],
  ['CapEff:\t0000000000200000\n', true],
  [CONTAINER, false],
  ['CapEff:\t0000000000000000\n', false],
  ['', false],
])('%j: may administer is %s', (status, expected) => {
  expect(canAdminister(status)).toBe(expected);
});

it('asks for root where a snapshot is wanted, and for nothing where none is', () => {
  const live = { snapshot: 'none' };
  expect(() => requirePrivilege([live, { snapshot: 'auto' }], CONTAINER)).toThrow(
    expect.objectContaining({ code: 'usage', hint: expect.stringContaining('root') as string }),
  );
  expect(() => requirePrivilege([live], CONTAINER)).not.toThrow();
  expect(() => requirePrivilege([{ snapshot: 'auto' }], ROOT)).not.toThrow();
});
