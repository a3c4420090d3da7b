import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../src/system/run-command.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');

/**
 * Starts to write to `log` in the first directory and then to that in the second, time and again: the second is never ahead.
 * `begun` resolves once both are there; `stop` ends it at any time.
 */
export function startPairLogs(directories: readonly string[]): {
  begun: () => Promise<void>;
  stop: () => Promise<void>;
} {
  const stopping = new AbortController();
  const logs = directories.map((directory) => path.join(directory, 'log'));
  const program = [process.execPath, '--import', 'tsx', 'test/support/pair-writer.ts'] as const;
  const writer = runCommand([...program, ...logs], { cwd: PROJECT, signal: stopping.signal });
  return {
    begun: async () => {
      while (!logs.every((log) => existsSync(log))) await sleep(20);
    },
    stop: async () => {
      stopping.abort();
      await writer;
    },
  };
}
