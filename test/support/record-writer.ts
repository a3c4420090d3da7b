import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import process from 'node:process';
import { formatAcknowledgement, formatRecord } from './records.js';

// A program: appends numbered, checksummed records to a log, fsyncs each, and then acknowledges it on stdout.
// `node --import tsx test/support/record-writer.ts LOGFILE PAUSE_MS`; SIGTERM ends it between two records.

const [, , file, pauseMs] = process.argv;
if (file === undefined || !(Number(pauseMs) >= 1))
  throw new Error('usage: record-writer.ts LOGFILE PAUSE_MS');

let stopping = false;
process.on('SIGTERM', () => {
  stopping = true;
});

const log = openSync(file, 'wx', 0o600);
let sequence = 1;
// Everything synchronous, as a database's log is: while the filesystem is frozen it waits inside write(2).
const writeNext = (): void => {
  if (stopping) {
    closeSync(log);
    return;
  }
  writeSync(log, formatRecord({ sequence, begunMs: Date.now() }));
  fsyncSync(log);
  writeSync(1, formatAcknowledgement({ sequence, acknowledgedMs: Date.now() }));
  sequence += 1;
  // At some hundred records a second a small disk lasts for minutes.
  setTimeout(writeNext, Number(pauseMs));
};
writeNext();
