import { readFile } from 'node:fs/promises';
import path from 'node:path';

const PAGE = path.resolve(import.meta.dirname, '../../docs/json-output.md');

/** The text of the page on JSON output. */
export async function jsonPage(): Promise<string> {
  return await readFile(PAGE, 'utf8');
}

/** The JSON blocks of the page, by the command in their heading. */
export async function documented(): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>();
  for (const section of (await jsonPage()).split(/^## /m)) {
    const command = /^`fsbackup ([a-z ]+?) --json`/.exec(section)?.[1];
    const block = /^```json\n([^]*?)^```/m.exec(section)?.[1];
    if (command !== undefined && block !== undefined) found.set(command, JSON.parse(block));
  }
  return found;
}

/** The paths of all keys, of every element of an array as one: `sources[].device`. */
function keysOf(value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((element) => keysOf(element, `${at}[]`)))];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [`${at}.${key}`, ...keysOf(inner, `${at}.${key}`)]);
}

/** Keys below what was printed empty, or is documented as somebody else's object, cannot be told apart. */
function comparable(keys: readonly string[], other: readonly string[]): string[] {
  return keys.filter((key) => {
    const parent = key.slice(0, key.lastIndexOf('.'));
    return parent === '' || other.some((one) => one.startsWith(`${parent}.`));
  });
}

/** The keys of what a command printed and those that the page has for it, as far as the two can be compared. */
export async function keysBeside(
  command: string,
  stdout: string,
): Promise<{ printed: string[]; page: string[] }> {
  const printed = keysOf(JSON.parse(stdout));
  const page = keysOf((await documented()).get(command));
  return {
    printed: comparable(printed, page).toSorted(),
    page: comparable(page, printed).toSorted(),
  };
}
