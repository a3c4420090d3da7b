/**
 * The exclude patterns of rsync (rsync(1), "PATTERN MATCHING RULES"), for engines other than rsync. Paths and patterns
 * are matched byte by byte, as rsync does: both are "binary" (latin1) strings here, one character per byte.
 */

/** A path relative to its source, without a leading slash, one character per byte. */
export type BinaryPath = string;

/** Decides whether an entry is left out; what lies in a directory that is left out is so as well. */
export type ExcludeMatcher = (path: BinaryPath, isDirectory: boolean) => boolean;

const WILDCARDS = /[*?[]/;
const NAMED_CLASSES: Readonly<Record<string, string>> = {
  alnum: 'A-Za-z0-9',
  alpha: 'A-Za-z',
  blank: ' \\t',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`{-~',
  space: ' \\t\\n\\v\\f\\r',
  upper: 'A-Z',
  xdigit: '0-9A-Fa-f',
};

function escaped(character: string): string {
  return /[\w\s]/.test(character)
    ? character
    : `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`;
}

/**
 * Translates the character class that opens at `start`. Returns the regular expression and the index after the class;
 * undefined when it is never closed, which matches nothing.
 */
function translateClass(pattern: string, start: number): { source: string; end: number } | undefined {
  let index = start + 1;
  const negated = pattern[index] === '!' || pattern[index] === '^';
  if (negated) index += 1;
  let body = '';
  for (let first = true; first || pattern[index] !== ']'; first = false) {
    const named = /^\[:([a-z]+):\]/.exec(pattern.slice(index));
    if (named !== null) {
      body += NAMED_CLASSES[named[1] ?? ''] ?? '';
      index += named[0].length;
      continue;
    }
    let character = pattern[index];
    if (character === '\\') {
      index += 1;
      character = pattern[index];
    }
    if (character === undefined) return undefined;
    const isRange = character === '-' && !first && pattern[index + 1] !== ']';
    body += isRange ? '-' : escaped(character);
    index += 1;
  }
  // No class matches a slash, negated or not.
  return { source: negated ? `[^/${body}]` : `(?!/)[${body}]`, end: index + 1 };
}

function translateWild(pattern: string): string | undefined {
  let source = '';
  let index = 0;
  while (index < pattern.length) {
    const character = pattern.charAt(index);
    if (character === '*') {
      const stars = /^\*+/.exec(pattern.slice(index))?.[0].length ?? 1;
      source += stars === 1 ? '[^/]*' : '[^]*';
      index += stars;
    } else if (character === '[') {
      const translated = translateClass(pattern, index);
      if (translated === undefined) return undefined;
      source += translated.source;
      index = translated.end;
    } else if (character === '?') {
      source += '[^/]';
      index += 1;
    } else {
      const isEscape = character === '\\' && index + 1 < pattern.length;
      source += escaped(isEscape ? pattern.charAt(index + 1) : character);
      index += isEscape ? 2 : 1;
    }
  }
  return source;
}

/**
 * The regular expression for a pattern without the slashes at its ends, as text: not anchored, `[^]*` for `**`.
 * Undefined for one that matches nothing.
 */
export function patternSource(bare: string): string | undefined {
  // A backslash escapes only in a pattern that has wildcards.
  return WILDCARDS.test(bare) ? translateWild(bare) : bare.replaceAll(/[^]/g, escaped);
}

function compile(pattern: string): ExcludeMatcher {
  const directoriesOnly = pattern.length > 1 && pattern.endsWith('/');
  const body = directoriesOnly ? pattern.slice(0, -1) : pattern;
  const anchored = body.startsWith('/');
  const bare = anchored ? body.slice(1) : body;
  const source = patternSource(bare);
  if (source === undefined) return () => false;

  const crossesSlashes = body.includes('**');
  const nameOnly = !body.includes('/') && !crossesSlashes;
  const prefixed = body.startsWith('**');
  const regExp = new RegExp(anchored || nameOnly || prefixed ? `^(?:${source})$` : `(?:^|/)(?:${source})$`);
  const withContents = body.endsWith('/***');
  return (path, isDirectory) => {
    if (directoriesOnly && !isDirectory) return false;
    const subject = nameOnly ? path.slice(path.lastIndexOf('/') + 1) : path;
    // `**/x` matches x at the top too, and `x/***` the directory x itself.
    return regExp.test(`${prefixed ? '/' : ''}${subject}${withContents && isDirectory ? '/' : ''}`);
  };
}

/** Compiles patterns as given in a configuration; the first that matches decides, and all exclude. */
export function compileExcludes(patterns: readonly string[]): ExcludeMatcher {
  const matchers = patterns
    .filter((pattern) => pattern !== '')
    .map((pattern) => compile(Buffer.from(pattern, 'utf8').toString('latin1')));
  return (path, isDirectory) => matchers.some((matches) => matches(path, isDirectory));
}

/** The pattern that matches exactly `path`, whatever characters are in it. */
export function literalPattern(path: string): string {
  return WILDCARDS.test(path) ? path.replaceAll(/[*?[\]\\]/g, String.raw`\$&`) : path;
}
