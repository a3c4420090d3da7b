import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { statField } from './process-identity.js';

/** A terminal to ask on. */
export interface AskOn {
  input: NodeJS.ReadStream;
  output: NodeJS.WriteStream;
}

/**
 * Whether the terminal is somebody else's now, by the text of /proc/PID/stat: who reads it from the background is stopped by
 * SIGTTIN (as under timeout(1)), again and again, and then no other signal ends him. Fields 5 and 8 are pgrp and tpgid.
 */
export function isInBackground(stat: string): boolean {
  const [group, foreground] = [Number(statField(stat, 5)), Number(statField(stat, 8))];
  return foreground > 0 && group !== foreground;
}

/** Whether there is somebody to ask. */
export function canAsk({ input, output }: AskOn): boolean {
  return input.isTTY && output.isTTY && !isInBackground(readFileSync('/proc/self/stat', 'utf8'));
}

/** Shows a text and waits for `yes`, written out; any other answer, and the end of the input, is no. */
export async function confirmed(text: string, on: AskOn, signal: AbortSignal): Promise<boolean> {
  // Not as a terminal: the line stays the kernel's, and Ctrl-C a signal.
  const lines = createInterface({ ...on, terminal: false });
  try {
    const closed = new Promise<string>((resolve) => {
      lines.once('close', () => resolve(''));
    });
    const question = lines.question(`${text}\nType "yes" to go on: `, { signal });
    // Rejects too when the input ends first.
    question.catch(() => undefined);
    return (await Promise.race([question, closed])).trim().toLowerCase() === 'yes';
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    lines.close();
  }
}
