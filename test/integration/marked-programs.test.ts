import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SnapshotTool } from '../../src/snapshots/snapshot-tool.js';
import { endMarkedPrograms } from '../../src/system/marked-programs.js';
import {
  OWNER_VARIABLE,
  ownOwnerMark,
  ownerMark,
  SNAPSHOT_VARIABLE,
  snapshotMarks,
} from '../../src/system/process-identity.js';

const owner = { pid: 4_194_304, startTime: 1 };
const MINE = { variable: SNAPSHOT_VARIABLE, values: ['mine'] };
const SOON = { byItselfMs: 200, afterTermMs: 300, afterKillMs: 20_000 };
const PATIENT = { byItselfMs: 60_000, afterTermMs: 10_000, afterKillMs: 10_000 };
let children: ChildProcess[];

beforeEach(() => {
  children = [];
});

afterEach(async () => {
  for (const child of children) {
    try {
      process.kill(-Number(child.pid), 'SIGKILL');
    } catch {
      // ESRCH: none of it is left.
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
});

/** A process in a session of its own, as `runCommand` starts them. */
async function start(env: Record<string, string>, script: string): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', `echo ready; ${script}`], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
    detached: true,
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

function makes(name: string, by = owner): Record<string, string> {
  return { [OWNER_VARIABLE]: ownerMark(by), ...snapshotMarks(['another', name]) };
}

function endOf({ signalCode, exitCode }: ChildProcess): NodeJS.Signals | number | 'alive' {
  return signalCode ?? exitCode ?? 'alive';
}

describe('endMarkedPrograms', () => {
  it('waits for what ends by itself', async () => {
    const making = await start(makes('mine'), 'sleep 1; exit 7');
    const ended = once(making, 'exit');
    expect(await endMarkedPrograms(owner, MINE, { times: PATIENT })).toEqual({ killed: false, stuck: [] });
    await ended;
    expect(endOf(making)).toBe(7);
  });

  it('ends what does not, and what it started, and nothing else', async () => {
    const polite = await start(makes('mine'), 'exec sleep 600');
    const stubborn = await start(makes('mine'), `trap '' TERM; while :; do sleep 0.1; done`);
    // As sudo does: the mark is lost.
    const lost = await start(makes('mine'), `env -i PATH="$PATH" sh -c 'trap "" TERM; sleep 600' & wait`);
    const others = [
      await start(makes('yours'), 'exec sleep 600'),
      await start(makes('mine', { pid: owner.pid, startTime: 2 }), 'exec sleep 600'),
      // What a hook started.
      await start({ [OWNER_VARIABLE]: ownerMark(owner) }, 'exec sleep 600'),
      await start(snapshotMarks(['mine']), 'exec sleep 600'),
    ];
    const ended = [polite, stubborn, lost].map((child) => once(child, 'close'));
    expect(await endMarkedPrograms(owner, MINE, { times: SOON })).toEqual({ killed: true, stuck: [] });
    // Also their output is at its end: nobody is left who has it open.
    await Promise.all(ended);
    expect([polite, stubborn].map(endOf)).toEqual(['SIGTERM', 'SIGKILL']);
    expect(others.map(endOf)).toEqual(['alive', 'alive', 'alive', 'alive']);
    expect(await endMarkedPrograms(owner, MINE, { times: SOON })).toEqual({ killed: false, stuck: [] });
  });

  it('waits no longer once it is interrupted, and ends nothing', async () => {
    const making = await start(makes('mine'), 'exec sleep 600');
    const stop = new AbortController();
    const waiting = endMarkedPrograms(owner, MINE, { times: PATIENT, signal: stop.signal });
    stop.abort(new Error('interrupted'));
    await expect(waiting).rejects.toThrow('interrupted');
    expect(endOf(making)).toBe('alive');
  });

  it('names what cannot be ended', async () => {
    // One in D state takes no signal; one that is stopped takes SIGKILL alone.
    const making = await start(makes('mine'), 'kill -STOP $$');
    const never = { byItselfMs: 0, afterTermMs: 0, afterKillMs: 0 };
    const { stuck } = await endMarkedPrograms(owner, MINE, { times: never });
    expect(stuck).toEqual([{ pid: making.pid, name: 'sh', marks: ['mine'] }]);
  });

  it('finds what a provider has started, by each of the snapshots that it makes', async () => {
    const tool = new SnapshotTool();
    const { signal } = new AbortController();
    for (const name of ['first', 'second']) {
      const making = tool
        .make(['first', 'second'], ['sleep', '600'], { signal, timeoutMs: 60_000 })
        .catch((error: unknown) => error);
      const [pid = 0, startTime = 0] = ownOwnerMark().split('-').map(Number);
      let ended = { killed: false };
      while (!ended.killed)
        ended = await endMarkedPrograms(
          { pid, startTime },
          { variable: SNAPSHOT_VARIABLE, values: [name] },
          { times: SOON },
        );
      expect(await making).toMatchObject({ message: expect.stringContaining('ended by SIGTERM') });
    }
  });
});
