import { expect, it } from 'vitest';
import { lossNumber, SlotState, type SlotReport } from '../../../src/freeze/protocol.js';
import { slotVerdict } from '../../../src/freeze/slot-verdict.js';

const EINVAL = 22;
const EIO = 5;
const BODY = { mountpoint: '/srv', slot: 0, detached: true };

function verdict(error: number, slot: Partial<SlotReport>, body = BODY): void {
  const times = { callMs: 0, heldMs: 0, thawBeginMs: 0, thawedMs: 0, deadlineMs: 0 };
  const slots = [{ state: SlotState.held, loss: 0, freezeErrno: 0, thawErrno: 0, ...times, ...slot }];
  slotVerdict(body, { error, slots });
}

it('is content with what is held', () => {
  expect(() => verdict(0, {})).not.toThrow();
});

it('is content with what it took away from a running command, which is told', () => {
  const taken = { state: SlotState.thawed, loss: lossNumber('third-party') };
  expect(() => verdict(0, taken, { ...BODY, detached: false })).not.toThrow();
  expect(() => verdict(EINVAL, { ...taken, thawErrno: EINVAL }, { ...BODY, detached: false })).toThrow(
    expect.objectContaining({ code: 'freezeLost' }),
  );
});

it.each([
  ['was lost', EINVAL, { state: SlotState.thawed, loss: lossNumber('third-party') }, 'freezeLost', 21],
  ['keeps FITHAW failing', EIO, { state: SlotState.stuck, thawErrno: EIO }, 'thawFailed', 22],
  // Two at a time: the thaw of the one came before the reset of the other.
  ['was thawed meanwhile, as asked', EINVAL, { state: SlotState.thawed }, 'notFrozen', 20],
] as const)('tells of what %s', (_, error, slot, code, exitCode) => {
  expect(() => verdict(error, slot)).toThrow(
    expect.objectContaining({ code, exitCode, message: expect.stringContaining('/srv') as string }),
  );
});
