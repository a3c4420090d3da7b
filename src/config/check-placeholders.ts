import { closest } from '../suggest.js';

/** Of a snapshot's commands; of `expose` and `unexpose` also where. */
export const SNAPSHOT_PLACEHOLDERS = ['name', 'device', 'mountpoint'] as const;
/** Of a target's commands. */
export const TARGET_PLACEHOLDERS = [
  'host',
  'job',
  'id',
  'name',
  'directory',
  'paths',
  'unreadable',
  'mode',
] as const;
export const DIRECTORY_PLACEHOLDER = ['directory'] as const;

function meantBy(word: string, known: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  return known.find((one) => one.startsWith(lower) || lower.startsWith(one)) ?? closest(word, known);
}

/**
 * What looks like a mistyped placeholder in a command, as a sentence each: it would be taken for text, and every backup then have one
 * name. `{}`, JSON, `${x}` and `{a,b}` are text, and so is a word that is near to no placeholder. Pure.
 */
export function mistypedPlaceholders(argv: readonly string[], known: readonly string[]): string[] {
  return argv.flatMap((argument) =>
    [...argument.matchAll(/(?<!\$)\{([A-Za-z]+)\}/g)].flatMap(([written, word = '']) => {
      if (known.includes(word)) return [];
      const meant = meantBy(word, known);
      return meant === undefined ? [] : [`${written} is no placeholder: did you mean {${meant}}?`];
    }),
  );
}
