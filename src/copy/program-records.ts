import { PassThrough, type Writable } from 'node:stream';
import type { CommandResult } from '../system/run-command.js';

/** What a program is run with, for its records to be taken. */
export interface RecordsOptions {
  stdoutTo: Writable;
  signal: AbortSignal;
}

/**
 * The records that a program writes to its standard output, some at a time, one character for each byte, as fast as they
 * are taken: memory does not grow with their number. `end` is the character that ends each. `check` is asked when the
 * program has ended, and throws when the records are not to be trusted. Whoever stops before the end ends the program.
 */
export async function* programRecords(
  start: (options: RecordsOptions) => Promise<CommandResult>,
  { end, signal, check }: { end: string; signal: AbortSignal; check: (result: CommandResult) => void },
): AsyncGenerator<string[]> {
  const output = new PassThrough();
  const stop = new AbortController();
  const running = start({ stdoutTo: output, signal: AbortSignal.any([signal, stop.signal]) }).finally(() => {
    // One that could not be started has ended nothing.
    if (!output.writableEnded) output.end();
  });
  // Awaited below, where somebody hears of it.
  running.catch(() => undefined);
  let partial = '';
  try {
    for await (const piece of output as AsyncIterable<Buffer>) {
      const records = (partial + piece.toString('latin1')).split(end);
      partial = records.pop() ?? '';
      yield records;
    }
    check(await running);
    if (partial !== '') yield [partial];
  } finally {
    stop.abort();
    output.destroy();
    await running.catch(() => undefined);
  }
}
