import { endianness } from 'node:os';
import type { PageSlot } from '../system/native.js';
import type { DeviceLossReason, LossReason } from './freezer.js';

/*
 * The mirror of native/protocol.h: numbers in the host's byte order, at the same offsets. A test compiles the header
 * and compares.
 */

export const MAX_SLOTS = 32;
export const MAX_DEVICES = 128;
export const ALL_SLOTS = 0xffff_ffff;
export const PROTOCOL_VERSION = 4;
export const FRAME_MAGIC = 0x5246_4246;
export const CONTROL_PATH_SIZE = 108;
export const RECORD_STATUS_SIZE = 64;

/** The page's descriptor in each guard, and where it has its slots. */
export const PAGE_FD = 4;
export const SLOTS_AT = 24;
export const SLOT_SIZE = 64;
/** In a slot. */
export const DEADLINE_AT = 48;

const HEADER_SIZE = 64;
const SLOT_REPORT_SIZE = 56;
export const FRAME_SIZE = HEADER_SIZE + SLOT_REPORT_SIZE * MAX_SLOTS;

export const SlotState = {
  idle: 0,
  calling: 1,
  held: 2,
  failed: 3,
  thawing: 4,
  thawed: 5,
  probing: 6,
  stuck: 7,
} as const;

/** Of the devices of a page together. */
export const WatchState = { idle: 0, open: 1, ended: 2, lingering: 3, stuck: 4 } as const;

export const FrameType = { arm: 1, reset: 2, thaw: 3, detach: 4, status: 5, quit: 6, event: 7 } as const;

/** By number: the wire's `enum loss`. */
const LOSSES: readonly (LossReason | undefined)[] = [
  undefined,
  'timeout',
  'max-hold',
  'holder-died',
  'third-party',
  'guard-died',
  'signal',
];

/** The reason behind a number of the wire; undefined for "not lost". */
export function lossReason(loss: number): LossReason | undefined {
  return LOSSES[loss];
}

const LEFT_SUSPENDED = LOSSES.length;

/** As `lossReason`, of devices. */
export function deviceLossReason(loss: number): DeviceLossReason | undefined {
  return loss === LEFT_SUSPENDED ? 'left-suspended' : LOSSES[loss];
}

/** The number of a reason on the wire. */
export function lossNumber(reason: DeviceLossReason): number {
  return reason === 'left-suspended' ? LEFT_SUSPENDED : LOSSES.indexOf(reason);
}

/** By bit: what a guard says of this host. */
const WARNINGS: readonly string[] = [
  'the watchdog shares its cgroup with other processes and dies with it',
  'the watchdog could not be locked into memory (that takes CAP_IPC_LOCK)',
  'the watchdog could not be hidden from the OOM killer (that takes CAP_SYS_RESOURCE)',
  'the second watchdog is gone',
];

/** The sentences behind the bits of `enum warning`. */
export function warningTexts(bits: number): string[] {
  return WARNINGS.filter((_, bit) => (bits & (1 << bit)) !== 0);
}

/** What a guard reports of one slot: what the page says of it. */
export type SlotReport = Omit<PageSlot, 'probing' | 'endedAnothers'>;

export interface Request {
  type: number;
  sequence: number;
  slot?: number;
  /** 0: no timeout. */
  timeoutMs?: number;
  /** ARM only. */
  slotCount?: number;
  /** ARM only. */
  controlPath?: string;
}

export interface Reply {
  type: number;
  sequence: number;
  /** 0 or an errno. */
  error: number;
  warnings: number;
  maxHoldMs: number;
  watchdogPid: number;
  secondPid: number;
  nowMs: number;
  slots: SlotReport[];
}

const LITTLE = endianness() === 'LE';
const NS_PER_MS = 1e6;

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function readMs(view: DataView, offset: number): number {
  return Number(view.getBigUint64(offset, LITTLE)) / NS_PER_MS;
}

/** A request as the wire wants it. Throws a RangeError for a control path that does not fit. */
export function encodeRequest(request: Request): Buffer {
  const buffer = Buffer.alloc(FRAME_SIZE);
  const view = viewOf(buffer);
  view.setUint32(0, FRAME_MAGIC, LITTLE);
  view.setUint32(4, PROTOCOL_VERSION, LITTLE);
  view.setUint32(8, request.type, LITTLE);
  view.setUint32(12, request.sequence, LITTLE);
  view.setUint32(16, request.slot ?? ALL_SLOTS, LITTLE);
  view.setUint32(24, request.slotCount ?? 0, LITTLE);
  view.setBigUint64(32, BigInt(Math.round((request.timeoutMs ?? 0) * NS_PER_MS)), LITTLE);
  const path = Buffer.from(request.controlPath ?? '');
  if (path.length >= CONTROL_PATH_SIZE)
    throw new RangeError(`socket path too long: ${request.controlPath ?? ''}`);
  path.copy(buffer, HEADER_SIZE);
  return buffer;
}

/** Reads a reply or an event. Throws an Error when it is none of this protocol. */
export function decodeReply(buffer: Buffer): Reply {
  const view = viewOf(buffer);
  if (view.getUint32(0, LITTLE) !== FRAME_MAGIC || view.getUint32(4, LITTLE) !== PROTOCOL_VERSION) {
    throw new Error('not a frame of this version');
  }
  const count = Math.min(view.getUint32(24, LITTLE), MAX_SLOTS);
  return {
    type: view.getUint32(8, LITTLE),
    sequence: view.getUint32(12, LITTLE),
    error: view.getInt32(20, LITTLE),
    warnings: view.getUint32(28, LITTLE),
    maxHoldMs: readMs(view, 40),
    watchdogPid: view.getInt32(48, LITTLE),
    secondPid: view.getInt32(52, LITTLE),
    nowMs: readMs(view, 56),
    slots: Array.from({ length: count }, (_, index) => {
      const at = HEADER_SIZE + index * SLOT_REPORT_SIZE;
      return {
        state: view.getUint32(at, LITTLE),
        loss: view.getUint32(at + 4, LITTLE),
        freezeErrno: view.getInt32(at + 8, LITTLE),
        thawErrno: view.getInt32(at + 12, LITTLE),
        callMs: readMs(view, at + 16),
        heldMs: readMs(view, at + 24),
        thawBeginMs: readMs(view, at + 32),
        thawedMs: readMs(view, at + 40),
        deadlineMs: readMs(view, at + 48),
      };
    }),
  };
}
