import { createInterface } from 'node:readline/promises';

/** A terminal to ask on. */
export interface AskOn {
  input: NodeJS.ReadStream;
  output: NodeJS.WriteStream;
}

/** Whether there is somebody to ask. */
export function canAsk({ input, output }: AskOn): boolean {
  return input.isTTY && output.isTTY;
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
