import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeFailure, runCommand } from '../../src/system/run-command.js';
import { IS_IN_GUEST } from './in-guest.js';
import { NODE_COMMAND } from './node-command.js';
import { parseAcknowledgement, type Acknowledgement } from './records.js';

/** A bound against hanging: to start the writer may take a busy guest of the lab a minute. */
const LIMIT_MS = 240_000;
/** Between two records. A guest with one processor would do nothing else. */
const PAUSE_MS = IS_IN_GUEST ? 20 : 1;
const PROJECT = path.resolve(import.meta.dirname, '../..');

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
  const program = ['--import', 'tsx', 'test/support/record-writer.ts', file, String(PAUSE_MS)];
  const done = runCommand([...NODE_COMMAND, ...program], {
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
        await sleep(10);
      }
    },
    async stop() {
      stopping.abort();
      const result = await done;
      if (result.exitCode !== 0) throw new Error(describeFailure('the writer', result));
    },
  };
}
