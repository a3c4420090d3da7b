import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isAlive } from '../../../src/system/process-identity.js';
import { describeFailure, runCommand } from '../../../src/system/run-command.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'run-command-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

/** A script whose child ignores SIGTERM, and works for as long as `directory` is there. */
function withStubbornChild(name: string, beginning: string): [string, ...string[]] {
  const pidFile = path.join(directory, name);
  const work = `trap "" TERM; echo $$ >${pidFile}.new; mv ${pidFile}.new ${pidFile}; while [ -d ${directory} ]; do sleep 0.1; done`;
  return ['bash', '-c', `${beginning} bash -c '${work}' & wait`];
}

it('reads no more of a child until its lines were taken', async () => {
  let lines = 0;
  let isTaking = false;
  let waits = 0;
  const early: number[] = [];
  // It outlives its output: what is in the pipe at its end comes at once.
  const result = await runCommand(['sh', '-c', 'seq 1 100000; sleep 1'], {
    onStdoutLine: () => {
      lines += 1;
      if (isTaking) early.push(lines);
    },
    untilTaken: () => {
      waits += 1;
      isTaking = true;
      return new Promise((resolve) => {
        setImmediate(() => {
          isTaking = false;
          resolve();
        });
      });
    },
  });
  expect([result.exitCode, lines, early]).toEqual([0, 100_000, []]);
  expect(waits).toBeGreaterThan(1);
});

it('tells all of what a child wrote, the end of it where its lines are taken or nobody needs it', async () => {
  const argv = ['seq', '1', '400000'] as const;
  const whole = await runCommand(argv);
  expect(whole.stdout).toHaveLength(2_688_895);
  expect(whole.stdout.startsWith('1\n2\n')).toBe(true);
  for (const options of [{ onStdoutLine: () => undefined }, { ignoresStdout: true }]) {
    const taken = await runCommand(argv, options);
    expect(taken.stdout).toHaveLength(16 * 1024);
    expect(taken.stdout.endsWith('399999\n400000\n')).toBe(true);
  }
  const { stderr } = await runCommand(['sh', '-c', 'seq 1 400000 >&2']);
  expect(stderr).toHaveLength(1024 * 1024);
  expect(stderr.endsWith('399999\n400000\n')).toBe(true);
});

it('has failed rather than tell a part of what a child wrote, where that is too much', async () => {
  const argv = ['head', '--bytes=65M', '/dev/zero'] as const;
  const result = await runCommand(argv);
  expect(result).toMatchObject({ exitCode: undefined, stdoutTooLong: true, stdout: '' });
  expect(describeFailure('head', result)).toBe(
    'head wrote more than 64 MiB to its standard output, which is too much to be read',
  );
  expect(await runCommand(argv, { ignoresStdout: true })).toMatchObject({ exitCode: 0 });
});

it('does not call late who ended in time, when it was itself held up beyond that', async () => {
  const running = runCommand(['true'], { timeoutMs: 200 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  expect(await running).toMatchObject({ exitCode: 0, timedOut: false });
});

it('ends who is late, and says so', async () => {
  const result = await runCommand(['sleep', '600'], { timeoutMs: 200 });
  expect(result).toMatchObject({ exitCode: undefined, signal: 'SIGTERM', timedOut: true, aborted: false });
});

it('ends what outlives a program that was stopped before it says so', async () => {
  // With job control the child has a process group of its own.
  const cases = { plain: '', job: 'set -m;' };
  const stop = new AbortController();
  const childOf = async (name: string): Promise<number> => Number(await readFile(path.join(directory, name)));
  const livingWhenTold: boolean[] = [];
  const running = Object.entries(cases).map(([name, beginning]) =>
    runCommand(withStubbornChild(name, beginning), {
      signal: stop.signal,
      watch: () => ({
        started: () => undefined,
        ended: () => livingWhenTold.push(isAlive(Number(readFileSync(path.join(directory, name))))),
      }),
    }),
  );
  for (const name of Object.keys(cases)) while (!existsSync(path.join(directory, name))) await sleep(20);
  stop.abort();
  for (const ended of running) expect(await ended).toMatchObject({ aborted: true, signal: 'SIGTERM' });
  expect(livingWhenTold).toEqual([false, false]);
  for (const name of Object.keys(cases)) expect(isAlive(await childOf(name))).toBe(false);
});

it('lets who takes a while to end by itself do that', async () => {
  const done = path.join(directory, 'done');
  const cleansUp = `trap 'sleep 1; echo >${done}; exit 3' TERM; echo ready; while :; do sleep 0.1; done`;
  const stop = new AbortController();
  const running = runCommand(['bash', '-c', cleansUp], {
    signal: stop.signal,
    onStdoutLine: () => stop.abort(),
  });
  expect(await running).toMatchObject({ exitCode: 3, aborted: true });
  expect(existsSync(done)).toBe(true);
});

it('does not wait for what a program leaves running with its output open, where others wait for its end', async () => {
  const waits = `while [ -d ${directory} ]; do sleep 0.1; done`;
  const argv = ['sh', '-c', `( ${waits} ) & seq 1 20000; echo why >&2; date +%s%N >&2; exit 3`] as const;
  const afterMs: number[] = [];
  // The quickest of some: a busy machine takes its time, and who waits takes a second.
  for (let i = 0; i < 5; i += 1) {
    const result = await runCommand(argv, { endsAtExit: true });
    const endedAt = Date.now();
    expect(result).toMatchObject({ exitCode: 3, signal: undefined, stderr: expect.stringMatching(/^why\n/) });
    expect(result.stdout.endsWith('\n19999\n20000\n')).toBe(true);
    afterMs.push(endedAt - Number(result.stderr.split('\n')[1]) / 1e6);
  }
  expect(Math.min(...afterMs)).toBeLessThan(900);
});

it('tells of who cannot be started, also where it would have ended at its exit', async () => {
  expect(await runCommand(['/nowhere'], { endsAtExit: true })).toMatchObject({
    exitCode: undefined,
    notFound: true,
  });
});

it('starts programs in /, whatever became of the directory that it was started in itself', async () => {
  const program = `import { mkdirSync, rmdirSync } from 'node:fs';
    import { describeFailure, runCommand } from './src/system/run-command.ts';
    const told = [];
    for (const isKnown of [false, true]) {
      mkdirSync('${directory}/gone');
      process.chdir('${directory}/gone');
      // Node remembers the answer.
      if (isKnown) process.cwd();
      rmdirSync('${directory}/gone');
      for (const argv of [['pwd'], ['no-such-program'], ['/dev/null']]) {
        const result = await runCommand(argv);
        told.push(result.stdout.trim() || describeFailure(argv[0], result));
      }
      process.chdir('/');
    }
    console.log(JSON.stringify(told));`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', program] as const;
  const { stdout, stderr } = await runCommand(node, { cwd: path.resolve(import.meta.dirname, '../../..') });
  const each = ['/', 'no-such-program is not installed', '/dev/null cannot be executed (EACCES)'];
  expect([stderr, JSON.parse(stdout)]).toEqual(['', [...each, ...each]]);
});

it('takes a directory that is not there for no program that is not installed', async () => {
  const result = await runCommand(['true'], { cwd: path.join(directory, 'gone') });
  expect(result).toMatchObject({ exitCode: undefined, notFound: false, startError: 'ENOENT' });
});

it.each([
  ['the last of several', String.raw`why\nbecause\n`, 'because'],
  ['that which a bar of progress was drawn over', String.raw`10 %%\r20 %%\rno room\r\n`, 'no room'],
])('tells of a failure in one line: %s', async (_, said, told) => {
  const result = await runCommand(['sh', '-c', `printf '${said}' >&2; exit 1`]);
  expect(describeFailure('it', result)).toBe(`it ended with exit code 1: ${told}`);
});

it('tells the end of a line that does not end', async () => {
  const result = await runCommand([
    'sh',
    '-c',
    String.raw`head -c 3000000 /dev/zero | tr '\0' x >&2; exit 1`,
  ]);
  expect(describeFailure('it', result)).toBe(`it ended with exit code 1: …${'x'.repeat(400)}`);
  // Of two UTF-16 units each.
  const smiles = describeFailure('it', { ...result, stderr: `${'\u{1F600}'.repeat(1000)}x` });
  expect(smiles).toBe(`it ended with exit code 1: …${'\u{1F600}'.repeat(199)}x`);
});
