import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { benchCopyOverhead } from './copy-overhead.js';
import { benchDeadman, benchThaw } from './deadman.js';
import { makeEmptyCommand } from './empty-command.js';
import { benchMemory } from './memory.js';
import { holds, renderFigure, type Figure } from './measure.js';
import { benchOverhead } from './overhead.js';
import { benchResticOverhead } from './restic-overhead.js';
import { benchStart } from './start.js';
import { benchWindow } from './window.js';

// `npm run bench [-- SAMPLES] [--files N] [--only NAME]`: every figure, or those of one bench, against its baseline in the
// same run. Exits 1 when one is over its limit.
// Needs root and a build. It measures; whether things work is for the tests.

const { values, positionals } = parseArgs({
  options: { files: { type: 'string', default: '100000' }, only: { type: 'string' } },
  allowPositionals: true,
});
const samples = Number(positionals[0] ?? 7);

async function benchEarlyThaw(): Promise<Figure[]> {
  const empty = await makeEmptyCommand();
  try {
    return [await benchThaw(samples, empty.argv)];
  } finally {
    await rm(empty.directory, { recursive: true, force: true });
  }
}

const benches: Readonly<Record<string, () => Promise<Figure[]>>> = {
  window: () => benchWindow(samples),
  deadman: () => benchDeadman(samples),
  thaw: benchEarlyThaw,
  start: async () => [await benchStart(samples)],
  overhead: () => benchOverhead(samples),
  copy: () => benchCopyOverhead(samples),
  restic: () => benchResticOverhead(samples),
  memory: () => benchMemory(Number(values.files)),
};
const { only } = values;
if (only !== undefined && !(only in benches))
  throw new Error(`there is no bench ${only}; there are ${Object.keys(benches).join(', ')}`);

const figures: Figure[] = [];
for (const [name, bench] of Object.entries(benches)) {
  if (only !== undefined && only !== name) continue;
  const made = await bench();
  figures.push(...made);
  for (const figure of made) process.stdout.write(`${renderFigure(figure)}\n`);
}
process.exitCode = figures.every(holds) ? 0 : 1;
