import { FsbackupError } from '../../errors.js';
import type { CopySource } from '../engine.js';
import { patternSource } from '../rsync-pattern.js';
import { nestedIn, pathInBackup } from '../source-layout.js';

/** A text in a regular expression of Python that matches it and nothing else. */
export function literalForPython(text: string): string {
  return text.replaceAll(/[^\w/]/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, '0')}` : `\\u${code.padStart(4, '0')}`;
  });
}

/**
 * Translates an exclude pattern of rsync into a regular expression of Python, for what lies in `inside` (a path in the
 * backup). Of a directory that only `name/` matches borg keeps the directory itself, empty: it is not told whether
 * something is one. Throws `usage` for a pattern that matches the source itself.
 */
export function translateForBorg(pattern: string, inside: string): string {
  const directoriesOnly = /(?:\/|\/\*\*\*)$/.test(pattern) && pattern !== '/';
  const body = pattern.replace(/(?:\/|\/\*\*\*)$/, '');
  const anchored = body.startsWith('/');
  const bare = anchored ? body.slice(1) : body;
  const source = bare === '' ? undefined : patternSource(bare);
  if (source === undefined) {
    throw new FsbackupError('usage', `borg cannot leave out what "${pattern}" matches`, {
      hint: 'Write the pattern otherwise, or use the rsync or tar engine for this target.',
    });
  }
  const root = inside === '' ? String.raw`^(?:\./)?` : String.raw`^(?:\./)?${literalForPython(inside)}/`;
  // Of `**/x`, x at the top too.
  const rest = source.replaceAll('[^]*', '(?s:.*)').replace(/^\(\?s:\.\*\)\//, '(?s:.*/)?');
  return `${root}${anchored ? '' : '(?s:.*/)?'}(?:${rest})${directoriesOnly ? '/' : '(?:/|$)'}`;
}

/**
 * The patterns, in the order of their precedence, for sources that lie merged in one tree: a nested source's own come
 * first, then all else of it is taken, then come those of the source around it.
 */
export function borgPatterns(sources: readonly CopySource[]): string[] {
  const innermostFirst = sources.toSorted((a, b) => b.path.length - a.path.length);
  return innermostFirst.flatMap((source) => {
    const inside = pathInBackup(source.path);
    // `-` goes on into what is left out, for the sake of a nested source; `!` does not.
    const sign = nestedIn(source, sources).length > 0 ? '-' : '!';
    const isNested = sources.some((outer) => nestedIn(outer, [source]).length > 0);
    return [
      ...source.exclude.map((pattern) => `${sign} re:${translateForBorg(pattern, inside)}`),
      ...(isNested ? [`+ pp:${inside}`] : []),
    ];
  });
}
