import process from 'node:process';
import { ThrowawayDisks } from '../../test/support/throwaway-filesystem.js';
import { runDemo } from './demo.js';

/** What a shell sees of a process that a signal ended. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

const say = (line: string): void => console.log(line);
const stop = new AbortController();
const disks = new ThrowawayDisks();
let interrupted: keyof typeof EXIT_CODES | undefined;
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted ??= signal;
    stop.abort(new Error(`interrupted by ${signal}`));
  });
}
// Whoever read the output is gone: no reason to leave disks behind.
process.stdout.on('error', (error) => stop.abort(error));

let wrong: string[];
try {
  wrong = await runDemo({ disks, signal: stop.signal, say });
} catch (error) {
  wrong = [stop.signal.aborted || !(error instanceof Error) ? 'interrupted' : error.message];
}
try {
  await disks.dispose();
} catch (error) {
  wrong.push(error instanceof Error ? error.message : String(error));
}

for (const line of wrong) say(`WRONG: ${line}`);
say(
  wrong.length === 0
    ? 'Everything that was on the disk at the snapshot came back; nothing later did.'
    : 'The demo failed.',
);
process.exitCode = interrupted === undefined ? Math.min(wrong.length, 1) : EXIT_CODES[interrupted];
