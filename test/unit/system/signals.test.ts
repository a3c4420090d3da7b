import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import path from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../../src/system/run-command.js';
import { isInterruption, withSignals } from '../../../src/system/signals.js';

describe('withSignals', () => {
  it.each([
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGQUIT', 130],
  ] as const)('%s aborts with the error that exits %i', async (name, exitCode) => {
    const source = new EventEmitter();
    const reason = await withSignals(source, async (signal) => {
      source.emit(name, name);
      return signal.reason as unknown;
    });
    expect(reason).toMatchObject({ exitCode });
    expect(isInterruption(reason)).toBe(true);
  });

  it('passes over the PIPE of a child that ended while it was written to', async () => {
    const aborted = await withSignals(process, async (signal) => {
      const input = Readable.from(
        (function* () {
          for (let count = 0; count < 2000; count += 1) yield Buffer.alloc(65_536);
        })(),
      );
      await runCommand(['true'], { stdinFrom: input });
      process.kill(process.pid, 'SIGPIPE');
      await sleep(200);
      return signal.aborted;
    });
    expect(aborted).toBe(false);
  });

  it('goes on when the reader of its log has left, and nothing was fed to a child', async () => {
    const source = `import { guardOutputs } from './src/process-guard.ts';
      import { withSignals } from './src/system/signals.ts';
      process.stdin.resume();
      guardOutputs(process, () => undefined);
      process.stdin.once('end', () => withSignals(process, async (signal) => {
        let failed;
        process.stdout.once('error', ({ code }) => { failed = code; });
        process.stdout.write('a line of the log');
        await new Promise((resolve) => setTimeout(resolve, 500));
        console.error(failed, signal.aborted);
      }));`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], {
      cwd: path.resolve(import.meta.dirname, '../../..'),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    child.stdin.end();
    expect(await text(child.stderr)).toBe('EPIPE false\n');
  });

  it('leaves a write that nobody reads an error of its stream, also afterwards', async () => {
    const source = `import { spawn, spawnSync } from 'node:child_process';
      import { withSignals } from '${path.resolve(import.meta.dirname, '../../../src/system/signals.ts')}';
      for (let count = 0; count < 2; count += 1) await withSignals(process, async () => undefined);
      const child = spawn('true', { stdio: ['pipe', 'ignore', 'ignore'] });
      child.stdin.on('error', ({ code }) => console.log(code, process.listenerCount('SIGPIPE')));
      // It has ended by then, and nobody here has seen that.
      spawnSync('sleep', ['1']);
      child.stdin.write('x'.repeat(100_000));`;
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', source] as const;
    const cwd = path.resolve(import.meta.dirname, '../../..');
    expect(await runCommand(node, { cwd })).toMatchObject({ exitCode: 0, stdout: 'EPIPE 1\n' });
  });

  it('goes on until the work has ended, whatever comes after the first', async () => {
    const source = new EventEmitter();
    const done = await withSignals(source, async (signal) => {
      source.emit('SIGINT', 'SIGINT');
      source.emit('SIGINT', 'SIGINT');
      source.emit('SIGTERM', 'SIGTERM');
      await Promise.resolve();
      return (signal.reason as { exitCode: number }).exitCode;
    });
    expect(done).toBe(130);
  });

  it('lets go of the signals afterwards, also when the work fails', async () => {
    const source = new EventEmitter();
    await expect(withSignals(source, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await withSignals(source, async () => undefined);
    // But for the one listener that keeps it ignored, which the process was born with.
    expect([source.eventNames(), source.listenerCount('SIGPIPE')]).toEqual([['SIGPIPE'], 1]);
  });

  it('knows interruptions from other errors', () => {
    expect(isInterruption(new Error('interrupted'))).toBe(false);
  });
});
