import { mkdtempSync, readFileSync, existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { fuzzBudget } from './budget.js';

const NATIVE = path.resolve(import.meta.dirname, '../../native');
const CORPUS = path.join(import.meta.dirname, 'corpus/frames');
const FLAGS = ['-std=gnu17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-g', '-O1', '-I', NATIVE];
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'];
const TARGET = [
  ...['requests.c', 'frames.c'].map((name) => path.join(NATIVE, name)),
  path.join(import.meta.dirname, 'frames.c'),
];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'fuzz-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function cc(...args: string[]): Promise<void> {
  const { exitCode, stderr } = await runCommand(['cc', ...FLAGS, ...args]);
  expect(exitCode, stderr).toBe(0);
}

/** The target with its driver, the former instrumented. */
async function build(name: string, ...flags: string[]): Promise<string> {
  const program = path.join(directory, name);
  const driver = `${program}-driver.o`;
  await cc('-c', path.join(import.meta.dirname, 'driver.c'), '-o', driver);
  await cc(
    '-Dgetsockopt=harness_getsockopt',
    '-fsanitize-coverage=trace-pc',
    ...flags,
    ...TARGET,
    driver,
    '-o',
    program,
  );
  return program;
}

describe("the watchdog's protocol under fire", () => {
  it('takes only what is allowed, in every order and in every piece, without a fault of memory', async () => {
    const { seconds, seed } = fuzzBudget();
    const program = await build('frames', ...SANITIZERS);
    const crash = path.join(directory, 'crash');
    const { exitCode, signal, stdout, stderr } = await runCommand(
      [program, String(seconds), String(seed), crash, CORPUS],
      { env: { ASAN_OPTIONS: 'handle_abort=0:abort_on_error=1' }, timeoutMs: seconds * 1000 + 60_000 },
    );
    const input = existsSync(crash) ? readFileSync(crash).toString('base64') : 'none';
    expect(exitCode, `seed ${seed}, ${signal ?? 'no signal'}, input ${input}\n${stderr}`).toBe(0);
    const [runs = 0, places = 0] = stdout.split(' ').map(Number);
    console.log(`watchdog frames: ${runs} inputs, ${places} places of the code, seed ${seed}`);
    // That it is instrumented, and that the corpus reaches what it is for.
    expect(runs).toBeGreaterThan(0);
    expect(places).toBeGreaterThan(200);
  });
});

describeNeeding(['program:valgrind'], "the watchdog's protocol under valgrind", () => {
  it('reads nothing that was not written, and loses no memory', async () => {
    const program = await build('frames-plain');
    const { exitCode, stderr } = await runCommand(
      [
        'valgrind',
        '--error-exitcode=9',
        '--leak-check=full',
        '--track-fds=no',
        '-q',
        program,
        '0',
        '1',
        path.join(directory, 'crash-valgrind'),
        CORPUS,
      ],
      { timeoutMs: 100_000 },
    );
    expect(exitCode, stderr).toBe(0);
  });
});
