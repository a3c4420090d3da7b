import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { benchCopyOverhead } from './copy-overhead.js';
import { benchDeadman, benchThaw } from './deadman.js';
import { makeEmptyCommand } from './empty-command.js';
import { benchMemory } from './memory.js';
import { holds, renderFigure, type Figure } from './measure.js';
import { benchOverhead } from './overhead.js';
import { benchWindow } from './window.js';

// `npm run bench [-- SAMPLES] [--files N]`: every figure against its baseline in the same run. Exits 1 when one is over its limit.
// Needs root and a build. It measures; whether things work is for the tests.

const { values, positionals } = parseArgs({
  options: { files: { type: 'string', default: '100000' } },
  allowPositionals: true,
});
const samples = Number(positionals[0] ?? 7);
const figures: Figure[] = [];
const report = (...made: Figure[]): void => {
  figures.push(...made);
  for (const figure of made) process.stdout.write(`${renderFigure(figure)}\n`);
};

report(...(await benchWindow(samples)));
report(...(await benchDeadman(samples)));
const empty = await makeEmptyCommand();
try {
  report(await benchThaw(samples, empty.argv));
} finally {
  await rm(empty.directory, { recursive: true, force: true });
}
report(await benchOverhead(samples));
report(...(await benchCopyOverhead(samples)));
report(...(await benchMemory(Number(values.files))));
process.exitCode = figures.every(holds) ? 0 : 1;
