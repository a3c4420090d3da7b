import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { GatedStream } from '../../../src/copy/command/gated-stream.js';

const MIB = Buffer.alloc(1024 * 1024, 'x');

it('passes all on, and its end only when it is told', async () => {
  const gate = new GatedStream();
  const got: Buffer[] = [];
  gate.on('data', (chunk: Buffer) => got.push(chunk));
  await pipeline(Readable.from([MIB, MIB, Buffer.from('end')]), gate.inlet);
  expect(Buffer.concat(got)).toHaveLength(2 * MIB.length + 3);
  expect(gate.readableEnded).toBe(false);
  gate.end();
  await once(gate, 'end');
  expect(gate.bytes).toBe(2 * MIB.length + 3);
});

it('lets nobody wait who writes to it when it is destroyed', async () => {
  const gate = new GatedStream();
  // Nobody reads: the third piece waits.
  const writing = pipeline(Readable.from([MIB, MIB, MIB, MIB, MIB]), gate.inlet);
  setImmediate(() => gate.destroy());
  await expect(writing).rejects.toThrow('Premature close');
});
