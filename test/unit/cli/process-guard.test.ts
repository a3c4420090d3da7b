import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { type GuardedProcess, guardOutputs } from '../../../src/process-guard.js';

function failingStream(code: string): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
  });
}

function guard(stdout: Writable): { target: GuardedProcess; said: string[] } {
  const said: string[] = [];
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() });
  const target: GuardedProcess = { stdout, stderr };
  const tell = (message: string): void => void said.push(message);
  guardOutputs(target, tell);
  guardOutputs(target, tell);
  return { target, said };
}

/** Resolves when the stream has told its error to its listeners. */
async function writeTo(stream: Writable): Promise<void> {
  await new Promise((resolve) => {
    stream.once('error', resolve);
    stream.write('x');
  });
}

it.each(['EPIPE', 'EIO'])('does not mind a reader that left (%s)', async (code) => {
  const stdout = failingStream(code);
  const { target, said } = guard(stdout);
  await writeTo(stdout);
  expect({ exitCode: target.exitCode, said }).toEqual({ exitCode: undefined, said: [] });
});

it('tells once of output that could not be written, and fails', async () => {
  const stdout = failingStream('ENOSPC');
  const { target, said } = guard(stdout);
  await writeTo(stdout);
  expect({ exitCode: target.exitCode, said }).toEqual({
    exitCode: 1,
    said: ['cannot write the output: ENOSPC'],
  });
});

it('replaces listeners that throw', async () => {
  const stdout = failingStream('EIO');
  stdout.on('error', () => {
    throw new Error('not caught');
  });
  const { target } = guard(stdout);
  await writeTo(stdout);
  expect(target.exitCode).toBeUndefined();
});
