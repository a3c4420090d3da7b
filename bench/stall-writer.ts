import { openSync, writeSync } from 'node:fs';
import process from 'node:process';

// A program: appends a small block to a file again and again, and tells on stdout of each write that took longer than a
// millisecond: `BEGIN END`, nanoseconds of CLOCK_MONOTONIC. `stall-writer.ts FILE`; SIGTERM ends it.

const STALL_NS = 1_000_000n;
const BLOCK = Buffer.alloc(512, 'x');

const [, , file = ''] = process.argv;
const fd = openSync(file, 'w');
process.stdout.write('ready\n');
let position = 0;
const write = (): void => {
  for (const until = process.hrtime.bigint() + 20_000_000n; process.hrtime.bigint() < until;) {
    const begin = process.hrtime.bigint();
    // Within one megabyte: the file must not fill the disk, and a page that is dirty already is written as well.
    writeSync(fd, BLOCK, 0, BLOCK.length, position);
    position = (position + BLOCK.length) % (1024 * 1024);
    const end = process.hrtime.bigint();
    if (end - begin > STALL_NS) process.stdout.write(`${begin} ${end}\n`);
  }
  setTimeout(write, 1);
};
write();
