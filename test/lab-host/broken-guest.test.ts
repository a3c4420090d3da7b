import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { findGuest } from '../../lab/guests.js';
import { prepareGuest } from '../../lab/prepare.js';
import type { PreparedGuest } from '../../lab/prepared-guest.js';
import { describeBroken, runJob, type SessionOutcome } from '../../lab/session.js';

/** Nobody needs longer to break. */
const LONG_MS = 120_000;

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
});
