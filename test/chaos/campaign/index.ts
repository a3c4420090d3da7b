import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ThrowawayDisks } from '../../support/throwaway-filesystem.js';
import { chaosTools } from '../tools.js';
import { ENVIRONMENTS } from './environments.js';
import { runAll } from './run-all.js';
import { describeRun, parseResults, summarise } from './summary.js';

// `npm run chaos -- --runs N --seed S [--results FILE] [--environment host] [--only INDEX] [--lanes N]`: real jobs under load, a
// fault in each. Runs that the file has already are not run again, so a batch that was cut short goes on. Exits 1 when a
// run has a problem. Needs root, a build and a C compiler.

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    results: { type: 'string', default: 'chaos-results.jsonl' },
    environment: { type: 'string', default: 'host' },
    only: { type: 'string' },
    lanes: { type: 'string', default: '2' },
  },
});
const environment = ENVIRONMENTS[values.environment];
if (environment === undefined)
  throw new Error(`no environment ${values.environment}: ${Object.keys(ENVIRONMENTS).join(', ')}`);
const results = path.resolve(values.results);
const seed = Number(values.seed);
const known = existsSync(results) ? parseResults(readFileSync(results, 'utf8')) : [];
const isKnown = (index: number): boolean =>
  known.some((one) => one.seed === seed && one.index === index && one.environment === environment.name);
const indices =
  values.only === undefined
    ? Array.from({ length: Number(values.runs) }, (_, index) => index).filter((index) => !isKnown(index))
    : [Number(values.only)];

const disks = new ThrowawayDisks();
const tools = await chaosTools();
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
try {
  const done = await runAll({
    environment,
    seed,
    indices,
    lanes: Number(values.lanes),
    signal: stop.signal,
    campaign: {
      disks,
      cli: path.resolve(import.meta.dirname, '../../../bin/run.js'),
      faultCli: tools.faultCli,
    },
    loadProgram: tools.loadProgram,
    onResult: (result) => {
      appendFileSync(results, `${JSON.stringify(result)}\n`);
      process.stdout.write(describeRun(result));
    },
  });
  process.stdout.write(`${summarise(done)}\n`);
  process.exitCode = done.some(({ problems }) => problems.length > 0) ? 1 : 0;
} finally {
  await disks.dispose();
  await tools.remove();
}
