import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { summarizeReports } from '../scripts/test-summary.js';
import { buildChaosTools } from './build/chaos-tools.js';
import { pruneCache } from './cache.js';
import { CHECKOUT } from './checkout.js';
import { findGuest, GUESTS, type Guest } from './guests.js';
import { prepareGuest } from './prepare.js';
import type { PreparedGuest } from './prepared-guest.js';
import { describeBroken, runJob, runShell } from './session.js';
import { runTests, type Scope } from './test-run.js';

const USAGE = `usage, each after \`npm run lab --\`:
  [--guest NAME]… [SCOPE] [TEST…]                  runs tests in guests, in all of them unless named; --core: what each run
                                                   of CI does; --thorough: every case in every guest that it is for
  exec --guest NAME [--timeout SECONDS] -- COMMAND…  runs a command in a guest; its output, its exit code
  shell --guest NAME                               a shell on the guest's console
  build [--guest NAME]…                            only makes what is not in the cache
  guests                                           their names
guests: ${GUESTS.map((guest) => guest.name).join(', ')}; a start of a name will do`;

/** A guest that broke: not a code that a command in it is likely to end with. */
const BROKEN = 125;
const DEFAULT_TIMEOUT_SECONDS = 600;

interface Arguments {
  verb: string;
  /** Those that were named, or all. */
  guests: readonly Guest[];
  /** What is left: tests, or the command. */
  rest: readonly string[];
  timeoutMs: number;
  /** Where each guest's report is left as `NAME.json`. */
  results: string | undefined;
  scope: Scope;
}

const SCOPES = ['core', 'thorough'] as const;

/** Throws with what is wrong. */
function parseCommandLine(argv: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      guest: { type: 'string', multiple: true },
      timeout: { type: 'string' },
      results: { type: 'string' },
      core: { type: 'boolean', default: false },
      thorough: { type: 'boolean', default: false },
    },
  });
  const [first = ''] = positionals;
  const verb = ['exec', 'shell', 'build', 'guests'].includes(first) ? first : 'test';
  const timeoutSeconds = Number(values.timeout ?? DEFAULT_TIMEOUT_SECONDS);
  if (!(timeoutSeconds > 0)) throw new Error('--timeout takes seconds');
  return {
    verb,
    guests: values.guest?.map(findGuest) ?? GUESTS,
    rest: verb === 'test' ? positionals : positionals.slice(1),
    timeoutMs: timeoutSeconds * 1000,
    results: values.results,
    scope: SCOPES.find((scope) => values[scope]) ?? 'all',
  };
}

async function prepareAll(guests: readonly Guest[]): Promise<PreparedGuest[]> {
  await pruneCache();
  const prepared: PreparedGuest[] = [];
  for (const guest of guests) prepared.push(await prepareGuest(guest));
  return prepared;
}

async function test({ guests, rest, results, scope }: Arguments): Promise<number> {
  const prepared = await prepareAll(guests);
  const tested = await runTests(prepared, rest, {
    scope,
    chaosTools: await buildChaosTools(CHECKOUT),
  });
  if (results !== undefined) {
    for (const { guest, report } of tested) {
      if (report !== undefined) await writeFile(path.join(results, `${guest.name}.json`), report);
    }
  }
  const reports = tested.map(({ guest, report }) => ({ where: guest.name, report }));
  const summary = summarizeReports(reports, { skippedIsFailure: process.env['CI'] === 'true' });
  const warnings = prepared.flatMap((guest) => guest.warnings);
  for (const line of [...warnings, ...summary.problems, summary.line]) console.log(line);
  return summary.ok && tested.every(({ exitCode }) => exitCode === 0) ? 0 : 1;
}

async function execute(prepared: PreparedGuest, { rest, timeoutMs }: Arguments): Promise<number> {
  const outcome = await runJob(prepared, {
    job: { argv: rest, env: {}, chaosTools: await buildChaosTools(CHECKOUT) },
    timeoutMs,
    onStdout: (chunk) => process.stdout.write(chunk),
    onStderr: (chunk) => process.stderr.write(chunk),
  });
  if (outcome.kind === 'ended') return outcome.exitCode;
  console.error(describeBroken(prepared, outcome));
  return BROKEN;
}

async function main(argv: readonly string[]): Promise<number> {
  let parsed: Arguments;
  try {
    parsed = parseCommandLine(argv);
    if (['exec', 'shell'].includes(parsed.verb) && parsed.guests.length !== 1) {
      throw new Error(`${parsed.verb} takes one --guest`);
    }
    if (parsed.verb === 'exec' && parsed.rest.length === 0) throw new Error('exec takes a command');
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  if (parsed.verb === 'guests') {
    for (const guest of parsed.guests) console.log(guest.name);
    return 0;
  }
  if (parsed.verb === 'test') return await test(parsed);
  const [prepared] = await prepareAll(parsed.guests);
  if (parsed.verb === 'exec' && prepared !== undefined) return await execute(prepared, parsed);
  if (parsed.verb === 'shell' && prepared !== undefined) await runShell(prepared);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
