import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DEADLINE_AT,
  decodeReply,
  deviceLossReason,
  encodeRequest,
  FRAME_MAGIC,
  FRAME_SIZE,
  FrameType,
  lossNumber,
  lossReason,
  MAX_DEVICES,
  MAX_SLOTS,
  PAGE_FD,
  PROTOCOL_VERSION,
  RECORD_STATUS_SIZE,
  SLOT_SIZE,
  SLOTS_AT,
  SlotState,
  warningTexts,
  WatchState,
} from '../../../src/freeze/protocol.js';
import { runCommand } from '../../../src/system/run-command.js';
import {
  CALLERS_AT,
  COMMANDS_AT,
  MAX_COMMANDS,
  PROBING_AT,
  WATCH_STATE_AT,
} from '../../support/page-layout.js';

const NATIVE = fileURLToPath(new URL('../../../native', import.meta.url));

/** Prints the header's numbers, and a reply as raw bytes in which every field has a value of its own. */
const PROGRAM = `
#include "protocol.h"
#include <stdio.h>
#include <string.h>
int main(void) {
    struct frame frame;
    memset(&frame, 0, sizeof frame);
    frame.magic = FRAME_MAGIC; frame.version = PROTOCOL_VERSION; frame.type = FRAME_STATUS; frame.sequence = 7;
    frame.error = -22; frame.slot_count = 2; frame.warnings = WARN_NO_OOM | WARN_SECOND_LOST;
    frame.max_hold_ns = 60000000000ull; frame.watchdog_pid = 11; frame.second_pid = 12;
    frame.now_ns = 13000000;
    frame.slots[1] = (struct slot_report){SLOT_HELD, LOSS_SIGNAL, 16, 5, 1000000, 2000000, 3000000, 4000000, 5000000};
    printf("%u %zu %u %u %u %u\\n", FRAME_MAGIC, sizeof frame, MAX_SLOTS, RECORD_STATUS_SIZE, MAX_DEVICES, PROTOCOL_VERSION);
    printf("%u %zu %zu %zu %zu\\n", MAX_COMMANDS, offsetof(struct page, commands), offsetof(struct page, watch_state), offsetof(struct page, probing), offsetof(struct page, callers));
    printf("%d %zu %zu %zu %zu %zu\\n", FD_PAGE, offsetof(struct page, slots), sizeof(struct slot), offsetof(struct slot, state), offsetof(struct slot, loss), offsetof(struct slot, deadline_ns));
    printf("%d %d %d %d %d %d %d %d\\n", SLOT_IDLE, SLOT_CALLING, SLOT_HELD, SLOT_FAILED, SLOT_THAWING, SLOT_THAWED, SLOT_PROBING, SLOT_STUCK);
    printf("%d %d %d %d %d %d %d\\n", FRAME_ARM, FRAME_RESET, FRAME_THAW, FRAME_DETACH, FRAME_STATUS, FRAME_QUIT, FRAME_EVENT);
    printf("%d %d %d %d %d %d %d\\n", LOSS_TIMEOUT, LOSS_MAX_HOLD, LOSS_HOLDER_DIED, LOSS_THIRD_PARTY, LOSS_GUARD_DIED, LOSS_SIGNAL, LOSS_LEFT_SUSPENDED);
    printf("%d %d %d %d %d\\n", WATCH_IDLE, WATCH_OPEN, WATCH_ENDED, WATCH_LINGERING, WATCH_STUCK);
    for (size_t i = 0; i < sizeof frame; i++) printf("%02x", ((unsigned char *)&frame)[i]);
    struct frame request;
    if (fread(&request, sizeof request, 1, stdin) != 1) return 1;
    printf("\\n%d %u %u %u %u %llu %s\\n", request.magic == FRAME_MAGIC && request.version == PROTOCOL_VERSION, request.type,
           request.sequence, request.slot == ALL_SLOTS, request.slot_count, (unsigned long long)request.timeout_ns, request.control_path);
    return 0;
}
`;

describe('the mirror of native/protocol.h', () => {
  let directory: string;
  let lines: string[];

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'protocol-'));
    const source = path.join(directory, 'print.c');
    const program = path.join(directory, 'print');
    writeFileSync(source, PROGRAM);
    const compiled = await runCommand(['cc', '-std=gnu17', '-I', NATIVE, '-o', program, source]);
    expect(compiled.exitCode, compiled.stderr).toBe(0);
    const request = encodeRequest({
      type: FrameType.arm,
      sequence: 9,
      slotCount: 3,
      timeoutMs: 1500,
      controlPath: '/run/x',
    });
    writeFileSync(path.join(directory, 'request'), request);
    const printed = await runCommand(['sh', '-c', `"${program}" < "${directory}/request"`]);
    expect(printed.exitCode, printed.stderr).toBe(0);
    lines = printed.stdout.split('\n');
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('has its sizes', () => {
    expect(lines[0]).toBe(
      [FRAME_MAGIC, FRAME_SIZE, MAX_SLOTS, RECORD_STATUS_SIZE, MAX_DEVICES, PROTOCOL_VERSION].join(' '),
    );
    expect(lines[1]).toBe([MAX_COMMANDS, COMMANDS_AT, WATCH_STATE_AT, PROBING_AT, CALLERS_AT].join(' '));
    expect(lines[2]).toBe([PAGE_FD, SLOTS_AT, SLOT_SIZE, 0, 4, DEADLINE_AT].join(' '));
  });

  it('has its states, frame types and losses', () => {
    expect(lines[3]).toBe(Object.values(SlotState).join(' '));
    expect(lines[4]).toBe(Object.values(FrameType).join(' '));
    const losses = ['timeout', 'max-hold', 'holder-died', 'third-party', 'guard-died', 'signal'] as const;
    const deviceLosses = [...losses, 'left-suspended'] as const;
    expect(lines[5]).toBe(deviceLosses.map((loss) => lossNumber(loss)).join(' '));
    expect(losses.map((loss) => lossReason(lossNumber(loss)))).toEqual(losses);
    expect(deviceLosses.map((loss) => deviceLossReason(lossNumber(loss)))).toEqual(deviceLosses);
    expect([lossReason(0), deviceLossReason(0)]).toEqual([undefined, undefined]);
    expect(lines[6]).toBe(Object.values(WatchState).join(' '));
  });

  it('reads what C wrote, field by field', () => {
    const reply = decodeReply(Buffer.from(lines[7] ?? '', 'hex'));
    expect({ ...reply, slots: reply.slots[1] }).toEqual({
      type: FrameType.status,
      sequence: 7,
      error: -22,
      warnings: 0b1100,
      maxHoldMs: 60_000,
      watchdogPid: 11,
      secondPid: 12,
      nowMs: 13,
      slots: {
        state: SlotState.held,
        loss: lossNumber('signal'),
        freezeErrno: 16,
        thawErrno: 5,
        callMs: 1,
        heldMs: 2,
        thawBeginMs: 3,
        thawedMs: 4,
        deadlineMs: 5,
      },
    });
    expect(reply.slots).toHaveLength(2);
    expect(warningTexts(reply.warnings)).toHaveLength(2);
  });

  it('writes what C reads', () => {
    expect(lines[8]).toBe('1 1 9 1 3 1500000000 /run/x');
  });

  it('refuses what is no frame, and a socket path that does not fit', () => {
    expect(() => decodeReply(Buffer.alloc(FRAME_SIZE))).toThrow('not a frame');
    expect(() => encodeRequest({ type: FrameType.arm, sequence: 1, controlPath: 'x'.repeat(108) })).toThrow(
      RangeError,
    );
  });
});
