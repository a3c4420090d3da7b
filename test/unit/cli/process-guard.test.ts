import { closeSync, openSync } from 'node:fs';
import { Writable } from 'node:stream';
import { afterAll, expect, it } from 'vitest';
import { type GuardedProcess, guardOutputs } from '../../../src/process-guard.js';

type Output = GuardedProcess['stdout'];

function failingStream(code: string, fd?: number): Output {
  const stream = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
  });
  return Object.assign(stream, fd === undefined ? {} : { fd });
}

const devNull = openSync('/dev/null', 'w');
const file = openSync(import.meta.filename, 'r');
afterAll(() => {
  closeSync(devNull);
  closeSync(file);
});

function guard(stdout: Output): { target: GuardedProcess; said: string[] } {
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

it.each([
  ['of a pipe', 'EPIPE', undefined],
  // What a terminal is that has hung up: a character device, and isatty(3) says no.
  ['that was a terminal', 'EIO', devNull],
] as const)('does not mind a reader that left: %s', async (_, code, fd) => {
  const stdout = failingStream(code, fd);
  const { target, said } = guard(stdout);
  await writeTo(stdout);
  expect({ exitCode: target.exitCode, said }).toEqual({ exitCode: undefined, said: [] });
});

it.each([
  ['ENOSPC', undefined],
  ['EIO', file],
  ['EIO', undefined],
] as const)('tells once of output that could not be written (%s), and fails', async (code, fd) => {
  const stdout = failingStream(code, fd);
  const { target, said } = guard(stdout);
  await writeTo(stdout);
  expect({ exitCode: target.exitCode, said }).toEqual({
    exitCode: 1,
    said: [`cannot write the output: ${code}`],
  });
});

it('replaces listeners that throw', async () => {
  const stdout = failingStream('EPIPE');
  stdout.on('error', () => {
    throw new Error('not caught');
  });
  const { target } = guard(stdout);
  await writeTo(stdout);
  expect(target.exitCode).toBeUndefined();
});
