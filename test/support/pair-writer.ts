import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import process from 'node:process';

// A program: writes number 1, 2, 3, … as a line each to the first file, then to the second, fsyncing each: whatever
// instant is restored, the second is never ahead of the first, and at most one behind.
// `node --import tsx test/support/pair-writer.ts FIRST SECOND`; SIGTERM ends it.

const files = process.argv.slice(2).map((file) => openSync(file, 'wx', 0o600));
let stopping = false;
process.on('SIGTERM', () => {
  stopping = true;
});

let sequence = 1;
const writeNext = (): void => {
  if (stopping) {
    for (const file of files) closeSync(file);
    return;
  }
  const begin = performance.now();
  for (const file of files) {
    writeSync(file, `${sequence}\n`);
    fsyncSync(file);
  }
  sequence += 1;
  // An emulated guest has other things to do.
  setTimeout(writeNext, 1 + 2 * (performance.now() - begin));
};
writeNext();
