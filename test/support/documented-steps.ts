import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from './throwaway-filesystem.js';

const DOCUMENT = path.join(import.meta.dirname, '../../docs/restore-without-fsbackup.md');

/** The shell code of the document's block ```` ```sh NAME ````. */
async function stepsOf(name: string): Promise<string> {
  const text = await readFile(DOCUMENT, 'utf8');
  const block = new RegExp(`^\`\`\`sh ${name}\n([^]*?)^\`\`\`$`, 'm').exec(text)?.[1];
  if (block === undefined) throw new Error(`${DOCUMENT} has no steps "${name}"`);
  return block;
}

/** Does what the document says, in a shell with these variables. Returns what it prints. */
export async function follow(name: string, variables: Record<string, string>): Promise<string> {
  const assignments = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
  return await must('env', ...assignments, 'bash', '-euc', await stepsOf(name));
}
