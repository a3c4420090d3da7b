import { randomBytes } from 'node:crypto';

/** Of one boot and one filesystem: a few are enough. */
const ID_BYTES = 4;

/** Names what is frozen together by hand, for the `reset` and `thaw` that come back to it. */
export function makeFreezeId(): string {
  return randomBytes(ID_BYTES).toString('hex');
}

/** Whether a text may be one. */
export function isFreezeId(text: string): boolean {
  return /^[0-9a-f]{8}$/.test(text);
}
