import { FRAME_MAGIC, FRAME_SIZE, PROTOCOL_VERSION } from '../../src/freeze/protocol.js';

/** What a guard writes, in the host's byte order: a frame without slots. */
export function guardFrame(type: number, sequence: number, warnings = 0): Buffer {
  const frame = Buffer.alloc(FRAME_SIZE);
  const words = new Uint32Array(frame.buffer, frame.byteOffset, FRAME_SIZE / 4);
  words.set([FRAME_MAGIC, PROTOCOL_VERSION, type, sequence]);
  words[7] = warnings;
  return frame;
}

/** The sequence number of a request that a guard reads. */
export function sequenceOf(request: Buffer): number {
  return new Uint32Array(request.buffer.slice(request.byteOffset, request.byteOffset + FRAME_SIZE))[3] ?? -1;
}
