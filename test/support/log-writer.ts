import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeFailure, runCommand } from '../../src/system/run-command.js';
import { IS_IN_GUEST, PREBUILT } from './in-guest.js';
import { NODE_COMMAND } from './node-command.js';
import { RECORD_WRITER } from './record-writer-file.js';
import { parseAcknowledgement, type Acknowledgement } from './records.js';

/** A bound against hanging: to start the writer may take a busy guest of the lab a minute. */
const LIMIT_MS = 240_000;
/** Between two records. At the pace of the host an emulated processor would do nothing else. */
const PAUSE_MS = IS_IN_GUEST ? 100 : 1;
/** Between two looks at how many there are. */
const LOOK_MS = IS_IN_GUEST ? 100 : 10;
const PROJECT = path.resolve(import.meta.dirname, '../..');
/** Of Node: to translate it takes an emulated guest longer than all the rest of its start. */
const PROGRAM = IS_IN_GUEST
  ? [path.join(PREBUILT, RECORD_WRITER.compiled)]
  : ['--import', 'tsx', RECORD_WRITER.source];

/** A `record-writer.ts` that runs beside the test, in a process and a process group of its own. */
export interface LogWriter {
  /** Those so far, in order. */
  readonly acknowledgements: readonly Acknowledgement[];
  /** Waits until so many records were acknowledged. Rejects when the writer ended before, or after some minutes. */
  acknowledged(count: number): Promise<void>;
  /** Ends it between two records, and waits for that. Rejects when it did not end well. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a writer that appends to `file`, which must not exist. */
export function startLogWriter(file: string): LogWriter {
  const acknowledgements: Acknowledgement[] = [];
  const stopping = new AbortController();
  let ended: string | undefined;
  const done = runCommand([...NODE_COMMAND, ...PROGRAM, file, String(PAUSE_MS)], {
    cwd: PROJECT,
    signal: stopping.signal,
    onStdoutLine: (line) => {
      const acknowledgement = parseAcknowledgement(line);
      if (acknowledgement !== undefined) acknowledgements.push(acknowledgement);
    },
  }).then((result) => {
    ended = result.exitCode === 0 ? 'ended' : describeFailure('the writer', result);
    return result;
  });
  return {
    acknowledgements,
    async acknowledged(count) {
      const deadline = Date.now() + LIMIT_MS;
      while (acknowledgements.length < count) {
        if (ended !== undefined)
          throw new Error(`The writer ended after ${acknowledgements.length} records: ${ended}`);
        if (Date.now() > deadline)
          throw new Error(`The writer got to ${acknowledgements.length} of ${count} records`);
        await sleep(LOOK_MS);
      }
    },
    async stop() {
      stopping.abort();
      const result = await done;
      if (result.exitCode !== 0) throw new Error(describeFailure('the writer', result));
    },
  };
}
