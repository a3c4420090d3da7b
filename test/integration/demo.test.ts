import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readMounts } from '../../src/system/mountinfo.js';
import { describeNeeding } from '../support/capabilities.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Not there, or not any more.
    return '';
  }
}

/** What names `directory`: its mounts, its loop devices, processes with it on their command line, what lies in it. */
async function heldBelow(directory: string): Promise<string[]> {
  const loops = readdirSync('/sys/block').filter((name) =>
    readIfThere(`/sys/block/${name}/loop/backing_file`).includes(directory),
  );
  const processes = readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory);
    } catch {
      return false;
    }
  });
  return [
    ...(await readMounts()).map((mount) => mount.mountpoint).filter((name) => name.startsWith(directory)),
    ...loops,
    ...processes.map((pid) => `process ${pid}`),
    ...readdirSync(directory).filter((name) => name.startsWith('throwaway-')),
  ];
}

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync', 'program:setfacl'], 'the demo', () => {
  let temporary: string;

  beforeEach(async () => {
    temporary = await mkdtemp(path.join(os.tmpdir(), 'demo-test-'));
  });
  afterEach(async () => {
    await rm(temporary, { recursive: true, force: true });
  });

  /** Runs it in `temporary`; `onOutput` sees all of its stdout so far. */
  async function runDemo(
    onOutput: (output: string, signal: (name: NodeJS.Signals) => void) => void = () => undefined,
  ): Promise<{ exitCode: number | null; output: string }> {
    const child = spawn(process.execPath, ['--import', 'tsx', 'scripts/demo-lib/main.ts'], {
      cwd: PROJECT,
      env: { ...process.env, TMPDIR: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exited = new Promise<number | null>((resolve) => {
      child.once('close', resolve);
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      onOutput(output, (name) => child.kill(name));
    });
    const stderr = text(child.stderr);
    const exitCode = await exited;
    return { exitCode, output: output + (await stderr) };
  }

  it('backs up, restores, finds everything equal, and leaves nothing behind', async () => {
    const { exitCode, output } = await runDemo();
    expect(output).not.toContain('WRONG');
    expect(output).toMatch(/███ freeze +frozen\n.*███ snapshot +frozen\n.*███ thaw +frozen\n/);
    expect(output).toMatch(/records: \d+ written, \d+ of them acknowledged before the freeze; \d+ restored/);
    expect(exitCode).toBe(0);
    expect(await heldBelow(temporary)).toEqual([]);
  });

  it.each([
    ['SIGINT', 130, 'a throwaway disk'],
    ['SIGINT', 130, '$ fsbackup run'],
    ['SIGTERM', 143, '$ fsbackup run'],
    ['SIGHUP', 129, '$ fsbackup restore'],
  ] as const)('leaves nothing behind after a %s (exit %i) at "%s"', async (name, expected, moment) => {
    let sent = false;
    const { exitCode, output } = await runDemo((soFar, signal) => {
      if (sent || !soFar.includes(moment)) return;
      sent = true;
      signal(name);
    });
    expect(output).toContain('interrupted');
    expect(exitCode).toBe(expected);
    expect(await heldBelow(temporary)).toEqual([]);
  });
});
