import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { endOrphans } from '../../src/system/orphans.js';
import { OWNER_VARIABLE, ownOwnerMark, ownerMark } from '../../src/system/process-identity.js';
import { shellWord } from '../../src/system/command-line.js';
import { sealedCommand, viewDirectory } from '../../src/system/sealed-view.js';
import { describeNeeding } from '../support/capabilities.js';
import { runCommand } from '../../src/system/run-command.js';

const owner = { pid: 4_194_304, startTime: 1 };
let directory: string;
let children: ChildProcess[];

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'orphans-'));
  await writeFile(path.join(directory, 'file'), '');
  children = [];
});

afterEach(async () => {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await rm(directory, { recursive: true });
});

/** A process that holds a file open, or just sits there. */
async function start(mark: string, script: string): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', `${script}; echo ready; exec sleep 600`], {
    env: { PATH: process.env['PATH'], [OWNER_VARIABLE]: mark },
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

function endOf({ signalCode }: ChildProcess): NodeJS.Signals | 'alive' {
  return signalCode ?? 'alive';
}

describe('endOrphans', () => {
  it('ends what bears the mark of the dead process and uses its directory, and nothing else', async () => {
    const reads = await start(ownerMark(owner), `exec 5<${directory}/file`);
    const isIn = await start(ownerMark(owner), `cd ${directory}`);
    const daemon = await start(ownerMark(owner), 'true');
    const somebody = await start('1-1', `exec 5<${directory}/file`);
    const ended = Promise.all([once(reads, 'exit'), once(isIn, 'exit')]);
    await endOrphans(owner, [directory]);
    await ended;
    expect([reads, isIn, daemon, somebody].map(endOf)).toEqual(['SIGTERM', 'SIGTERM', 'alive', 'alive']);
  });

  it('kills what ignores SIGTERM', async () => {
    const stubborn = await start(ownerMark(owner), `trap '' TERM; exec 5<${directory}/file`);
    const ended = once(stubborn, 'exit');
    await endOrphans(owner, [directory]);
    await ended;
    expect(endOf(stubborn)).toBe('SIGKILL');
  });

  it('finds the children of runCommand by the mark of this process', async () => {
    const { stdout } = await runCommand(['printenv', OWNER_VARIABLE]);
    expect(stdout.trim()).toBe(ownOwnerMark());
    expect(ownOwnerMark()).toMatch(new RegExp(`^${process.pid}-\\d+$`));
  });
});

describeNeeding(['root', 'program:unshare'], 'endOrphans, of a restore', () => {
  it('ends what works in the sealed view of the dead process, which only the programs in it see', async () => {
    vi.stubEnv('FSBACKUP_RUN_DIR', directory);
    onTestFinished(() => void vi.unstubAllEnvs());
    const view = await viewDirectory(owner.pid);
    await mkdir(view);
    const [first = '', ...rest] = sealedCommand(view, []);
    const isIn = await start(
      ownerMark(owner),
      `exec ${[first, ...rest].map(shellWord).join(' ')} \\
      sh -c 'cd "$1"; echo ready; exec sleep 600' sh ${view}`,
    );
    const ended = once(isIn, 'exit');
    await endOrphans(owner, ['/nowhere']);
    await ended;
    expect(endOf(isIn)).toBe('SIGTERM');
  });
});
