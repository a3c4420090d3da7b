import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { findGuest } from '../../lab/guests.js';
import { prepareGuest } from '../../lab/prepare.js';
import type { PreparedGuest } from '../../lab/prepared-guest.js';
import { childrenOf } from '../chaos/campaign/victims.js';
import { describeBroken, runJob, type SessionOutcome } from '../../lab/session.js';

/** Nobody needs longer to break. */
const LONG_MS = 120_000;

/** The qemus of this process, no longer what starts them. */
function emulators(): number[] {
  return childrenOf(process.pid).filter((pid) => {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return argv.includes('-accel') && argv[0] !== 'setpriv';
  });
}

describe('a guest of the lab that breaks', () => {
  let prepared: PreparedGuest;

  beforeAll(async () => {
    prepared = await prepareGuest(findGuest('6.1'));
  }, 900_000);

  async function run(script: string, timeoutMs: number): Promise<SessionOutcome & { kind: 'broken' }> {
    const outcome = await runJob(prepared, {
      job: { argv: ['sh', '-c', script], env: {} },
      timeoutMs,
      onStdout: () => undefined,
      onStderr: () => undefined,
    });
    if (outcome.kind !== 'broken') throw new Error(`the job ended with ${outcome.exitCode}`);
    // What is shown is the end of all that the console said, which is kept.
    expect(await readFile(outcome.consoleFile, 'utf8')).toContain(outcome.consoleTail.split('\n').at(-1));
    expect(describeBroken(prepared, outcome)).toContain(outcome.consoleTail);
    return outcome;
  }

  it('by a panic is a failure that shows the panic', async () => {
    const { reason, consoleTail } = await run('echo c >/proc/sysrq-trigger; sleep 600', LONG_MS);
    expect(reason).toMatch(/^it ended before the job did/);
    expect(consoleTail).toMatch(/Kernel panic/);
  });

  it('by a hang is ended in time', async () => {
    const { reason } = await run('echo "lab: nobody comes back" >/dev/console; sleep 600', 4000);
    expect(reason).toBe('the job has not ended within 4 s');
  });

  it('by going down without a word of how the job ended is a failure', async () => {
    const { reason } = await run('echo o >/proc/sysrq-trigger; sleep 600', LONG_MS);
    expect(reason).toMatch(/^it ended before the job did/);
  });

  it('by an abort of qemu before the job began is started once more, and no more', async () => {
    const job = { argv: ['sh', '-c', 'exit 7'], env: {} };
    const quiet = { onStdout: () => undefined, onStderr: () => undefined };
    const ends = async (times: number): Promise<SessionOutcome> => {
      const running = runJob(prepared, { job, timeoutMs: LONG_MS, ...quiet });
      const aborted = new Set<number>();
      while (aborted.size < times) {
        const pid = emulators().find((one) => !aborted.has(one));
        if (pid === undefined) await sleep(10);
        else {
          process.kill(pid, 'SIGABRT');
          aborted.add(pid);
        }
      }
      return await running;
    };
    expect(await ends(1)).toEqual({ kind: 'ended', exitCode: 7 });
    expect(await ends(2)).toMatchObject({ kind: 'broken', reason: 'it ended before it had booted' });
  });
});
