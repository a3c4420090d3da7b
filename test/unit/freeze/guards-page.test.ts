import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { mayHaveBeenLost, readGuardsPage, type GuardedSlot } from '../../../src/freeze/guards-page.js';
import * as guards from '../../../src/freeze/kill-guards.js';
import { lossNumber, SLOT_SIZE, SLOTS_AT, SlotState } from '../../../src/freeze/protocol.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
vi.mock('../../../src/freeze/kill-guards.js', { spy: true });

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
    ['known to be lost before, of guards that are gone by now', slot('held', thirdParty), undefined, true],
  ])('%s', (_, before, after, isLost) => {
    expect(mayHaveBeenLost(before, after)).toBe(isLost);
  });
});

describe('the page of guards', () => {
  let directory: string;
  let children: ChildProcess[];

  beforeEach(() => {
    directory = mkdtempSync(path.join(os.tmpdir(), 'page-'));
    children = [];
    vi.mocked(guards.isGuard).mockReturnValue(true);
  });
  afterEach(() => {
    vi.resetAllMocks();
    for (const child of children) child.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  });

  const file = (name: string): string => path.join(directory, name);

  /** A program that has a file open where guards have their page. */
  async function guardOver(name: string, content: Buffer): Promise<number> {
    writeFileSync(file(name), content);
    const fd = openSync(file(name), 'r');
    const child = spawn('sleep', ['600'], { stdio: ['ignore', 'ignore', 'ignore', 'ignore', fd] });
    children.push(child);
    await new Promise((resolve) => child.once('spawn', resolve));
    closeSync(fd);
    return child.pid ?? -1;
  }

  function pageOf(...slots: GuardedSlot[]): Buffer {
    const page = Buffer.alloc(SLOTS_AT + slots.length * SLOT_SIZE);
    for (const [index, { state, loss }] of slots.entries())
      Buffer.from(Uint32Array.of(state, loss).buffer).copy(page, SLOTS_AT + index * SLOT_SIZE);
    return page;
  }

  it('is read in whichever of them lives and has it, and is closed again', async () => {
    const short = await guardOver('short', Buffer.alloc(SLOTS_AT));
    const whole = await guardOver('whole', pageOf(slot('thawed'), slot('held', thirdParty)));
    // Above the largest pid that Linux gives.
    const gone = 4_194_305;
    expect(readGuardsPage([gone, short, whole], 1)).toEqual(slot('held', thirdParty));
    expect([timesOpen(file('short')), timesOpen(file('whole'))]).toEqual([0, 0]);
    expect(readGuardsPage([gone, short], 1)).toBeUndefined();
    vi.mocked(guards.isGuard).mockReturnValue(false);
    expect(readGuardsPage([whole], 1)).toBeUndefined();
  });
});
