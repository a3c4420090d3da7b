import { MAX_DEVICES, MAX_SLOTS } from '../../src/freeze/protocol.js';

/*
 * Where struct page of native/protocol.h has what only C writes and reads. A test compiles the header and compares.
 */

const DEVICES_AT = 24 + 64 * MAX_SLOTS;
/** Of programs at one time. */
export const MAX_COMMANDS = 32;
/** An array of `MAX_COMMANDS` numbers of 32 bits. */
export const COMMANDS_AT = DEVICES_AT + 40 * MAX_DEVICES;
/** A number of 32 bits. */
export const WATCH_STATE_AT = COMMANDS_AT + 4 * MAX_COMMANDS + 4;
/** A number of 32 bits: one for each slot. */
export const PROBING_AT = WATCH_STATE_AT + 44;
/** An array of `MAX_SLOTS` numbers of 32 bits: the threads that call FIFREEZE. */
export const CALLERS_AT = PROBING_AT + 8;
