import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Guest } from './guests.js';
import { orderedOutputs } from './ordered-output.js';
import { CHECKOUT } from './checkout.js';
import type { PreparedGuest } from './prepared-guest.js';
import { must } from './process.js';
import { DEFAULT_CPUS } from './qemu.js';
import { describeBroken, runJob } from './session.js';

/**
 * How much is tested where no tests are named: `core` what a guest has in its list of that name, `all` every test,
 * its cases shared out among the guests that it is for, `thorough` every case in every guest that it is for.
 */
export type Scope = 'core' | 'all' | 'thorough';

/** What is run in a guest where no tests are named. */
function testsOf(guest: Guest, scope: Scope): readonly string[] {
  return scope === 'core' ? guest.core : guest.tests;
}

/** Bounds against hanging: for all tests of one guest. */
const TIMEOUT_MS: Readonly<Record<Scope, number>> = {
  core: 3_600_000,
  all: 2 * 3_600_000,
  thorough: 8 * 3_600_000,
};

export interface TestOptions {
  scope: Scope;
  /** A directory of lab/build/chaos-tools.ts. */
  chaosTools: string;
}

/** What a test run in a guest came to. */
export interface GuestTests {
  guest: Guest;
  /** The text of vitest's JSON report; undefined when the guest left none: it is broken, or vitest is. */
  report: string | undefined;
  /** Vitest's. It also fails for what is in no report, an error outside a test. */
  exitCode: number | undefined;
}

function vitestArgv(tests: readonly string[], guest: Guest, scope: Scope): string[] {
  const filters = tests.map((test) => (path.isAbsolute(test) ? path.relative(CHECKOUT, test) : test));
  return [
    'node',
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config=lab/vitest.config.ts',
    '--configLoader=runner',
    ...(filters.length > 0 ? filters : testsOf(guest, scope)),
  ];
}

/** Runs tests in a guest. Their output goes to `write` as it comes. */
async function runInGuest(
  prepared: PreparedGuest,
  tests: readonly string[],
  { scope, chaosTools }: TestOptions,
  cpus: number,
  write: (chunk: string | Buffer) => void,
): Promise<GuestTests> {
  const { guest, kernelRelease, behaviour, accelerator } = prepared;
  write(`\nlab: ${guest.name}: Linux ${kernelRelease}, which ${behaviour} (${accelerator.accel})\n`);
  const directory = await mkdtemp(path.join(os.tmpdir(), 'fsbackup-lab-results-'));
  try {
    const resultsFile = path.join(directory, 'results.tar');
    const outcome = await runJob(prepared, {
      job: {
        argv: vitestArgv(tests, guest, scope),
        chaosTools,
        // With CI a skipped test is a failure there too.
        env: {
          CI: process.env['CI'] ?? '',
          FSBACKUP_LAB_THOROUGH: scope === 'thorough' ? '1' : '0',
          ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }),
        },
      },
      timeoutMs: TIMEOUT_MS[scope],
      cpus,
      onStdout: write,
      onStderr: write,
      resultsFile,
    });
    if (outcome.kind === 'broken') {
      write(`${describeBroken(prepared, outcome)}\n`);
      return { guest, report: undefined, exitCode: undefined };
    }
    await must(['tar', '-x', '-C', directory, '-f', resultsFile]);
    const report = await readFile(path.join(directory, 'tests.json'), 'utf8').catch(() => undefined);
    return { guest, report, exitCode: outcome.exitCode };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** How many guests run at a time, and how many processors each has. */
interface Share {
  guests: number;
  cpus: number;
}

/**
 * Shares this machine's processors out among guests, so that each has those of one that runs alone where there are so
 * many, and all together no more than there are. With less of them for each, side by side, all take longer: beside an
 * emulated processor qemu needs a part of another, and much of a test is one program waiting for another.
 * (Two processors: runs of the campaign 29 to 47 s alone, 91 to 135 s where two guests with one each ran side by side.)
 */
export function shareOut(guests: number, processors: number): Share {
  const cpus = Math.max(1, Math.min(DEFAULT_CPUS, processors));
  return { guests: Math.max(1, Math.min(guests, Math.floor(processors / cpus))), cpus };
}

/** Runs tests (vitest's filters; none: those of each guest) in guests. What the guests print comes in their order. */
export async function runTests(
  guests: readonly PreparedGuest[],
  tests: readonly string[],
  options: TestOptions,
): Promise<GuestTests[]> {
  const outputs = orderedOutputs(guests.length, (chunk) => process.stdout.write(chunk));
  const waiting = guests.map((prepared, index) => ({ prepared, index }));
  const results: GuestTests[] = [];
  const share = shareOut(guests.length, os.availableParallelism());
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const output = outputs[next.index];
      results[next.index] = await runInGuest(next.prepared, tests, options, share.cpus, (chunk) =>
        output?.write(chunk),
      ).finally(() => output?.end());
    }
  };
  await Promise.all(Array.from({ length: share.guests }, worker));
  return results;
}
