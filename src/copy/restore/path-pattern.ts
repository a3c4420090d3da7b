import { translateWild } from '../rsync-pattern.js';

/** Whether `given` is a pattern and not just a path. */
export function isPattern(given: string): boolean {
  return /[*?[]/.test(given);
}

function translateSegment(segment: string): string | undefined {
  // A star never crosses a slash; only `**` as a whole name does.
  return translateWild(segment.replaceAll(/\*{2,}/g, '*'));
}

/**
 * Compiles a pattern over paths as they were on the live system (`byte-path.ts`): `*` and `?` match no slash, `**` any
 * number of directories, `[…]` one character, a backslash takes the next character as it is; a leading dot is like any
 * other character. One that does not begin with a slash matches below any directory. The path that is written exactly
 * like the pattern matches too. Pure; a class that is never closed matches nothing else.
 */
export function compilePattern(pattern: string): (path: string) => boolean {
  const absolute = pattern.startsWith('/') ? pattern : `/**/${pattern}`;
  const names = absolute.split('/').filter((name) => name !== '');
  let source = '';
  for (const [index, name] of names.entries()) {
    const isLast = index === names.length - 1;
    if (name === '**') {
      source += isLast ? '/[^]+' : '(?:/[^/]+)*';
      continue;
    }
    const translated = translateSegment(name);
    if (translated === undefined) return (path) => path === pattern;
    source += `/${translated}`;
  }
  const regExp = new RegExp(`^${source}$`, 'u');
  return (path) => path === pattern || regExp.test(path);
}
