import { describe, expect, it } from 'vitest';
import { mayHaveBeenLost, type GuardedSlot } from '../../../src/freeze/guards-page.js';
import { lossNumber, SlotState } from '../../../src/freeze/protocol.js';

function slot(state: keyof typeof SlotState, loss = 0): GuardedSlot {
  return { state: SlotState[state], loss, deadlineMs: 0 };
}
const thirdParty = lossNumber('third-party');

describe('a thaw of ours beside guards that do not answer', () => {
  it.each([
    ['held until then', slot('held'), slot('held'), false],
    ['held until then, as the answer of the probe was', slot('probing'), slot('held'), false],
    [
      'thawed meanwhile by a guard at its deadline',
      slot('held'),
      slot('thawed', lossNumber('timeout')),
      false,
    ],
    ['claimed by a guard, which found it thawed', slot('thawing'), slot('thawed', thirdParty), false],
    ['without guards', undefined, undefined, false],
    ['in a probe of which nobody knows the answer', slot('probing'), slot('probing'), true],
    ['in a probe that began meanwhile', slot('held'), slot('probing'), true],
    ['in a probe that found it thawed', slot('probing'), slot('held', thirdParty), true],
    ['known to be lost before', slot('held', thirdParty), slot('held', thirdParty), true],
  ])('%s', (_, before, after, isLost) => {
    expect(mayHaveBeenLost(before, after)).toBe(isLost);
  });
});
