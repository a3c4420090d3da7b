import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { must } from '../support/throwaway-filesystem.js';

const ADDON = path.resolve(import.meta.dirname, '../../native/build/addon.node');
/** A call in a thread of its own, which ends at once. */
const CALL = `
  const addon = require(process.argv[1]);
  const call = () => addon.thawTask(-1).catch(({ code }) => code);`;

/** What it costs a process of Node, which a test in one could not see. */
describeNeeding(['program:cc'], 'a call of the addon off the thread of Node', () => {
  let directory: string;
  let preload: string;
  let noThreads: string;

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'addon-tasks-'));
    preload = `${directory}/no-threads.so`;
    noThreads = `${directory}/no-threads`;
    const source = path.resolve(import.meta.dirname, '../support/no-threads.c');
    const flags = ['-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', preload];
    await must('cc', ...flags, source, '-ldl');
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function node(script: string): Promise<{ exitCode: number | undefined; stdout: string }> {
    rmSync(noThreads, { force: true });
    const env = { LD_PRELOAD: preload, NO_THREADS: noThreads };
    const options = { env, timeoutMs: 60_000 };
    const { exitCode, stdout } = await runCommand([process.execPath, '-e', CALL + script, ADDON], options);
    return { exitCode, stdout: stdout.trim() };
  }

  it('keeps no process from its end', async () => {
    expect(await node('call().then(console.log)')).toEqual({ exitCode: 0, stdout: 'EBADF' });
  });

  it('is one in the pool where no thread can be started', async () => {
    const ended = await node(`
      const { promises, writeFileSync } = require('node:fs');
      // What starts those of the pool.
      promises.stat('/').then(() => {
        writeFileSync(process.env.NO_THREADS, '');
        call().then(console.log);
      });`);
    expect(ended).toEqual({ exitCode: 0, stdout: 'EBADF' });
  });

  it('does no harm to a process that ends before it hears of it', async () => {
    const ended = await node(`
      call();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
      process.exit(7);`);
    expect(ended.exitCode).toBe(7);
  });

  it.each([
    ['its thread, whose stack has two MiB at least', 'call()'],
    ['what it was given', 'addon.setAttribute(path, path.subarray(0, 1), path).catch(() => {})'],
  ])('leaves nothing of %s', async (_, one) => {
    const { exitCode, stdout } = await node(`
      const { readFileSync } = require('node:fs');
      const mappedMiB = () => Number(/^VmSize:\\s*(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
      const path = Buffer.alloc(1 << 20, 'x');
      const calls = async (count) => { for (; count > 0; count -= 1) await ${one}; };
      (async () => {
        await calls(50);
        const before = mappedMiB();
        await calls(500);
        console.log(mappedMiB() - before);
      })();`);
    expect(exitCode).toBe(0);
    expect(Number(stdout)).toBeLessThan(300);
  });
});
