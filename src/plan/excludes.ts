import { compileExcludes } from '../copy/rsync-pattern.js';

/** Patterns are matched byte by byte: one character per byte. */
function binary(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** True when `patterns` (rsync's syntax) leave out the directory `relative` to the source, or one above it. */
export function isExcluded(patterns: readonly string[], relative: string): boolean {
  const excludes = compileExcludes(patterns);
  const names = binary(relative).split('/');
  return names.some((_, index) => excludes(names.slice(0, index + 1).join('/'), true));
}

/** What is left of `components` once they have matched all of `names`; undefined when they do not reach below. */
function remainder(components: readonly string[], names: readonly string[]): string | undefined {
  for (const [index, name] of names.entries()) {
    const component = components[index];
    if (component === undefined) return undefined;
    // It may take up any number of directories: what follows it may then begin anywhere below.
    if (component === '**') return components.slice(index + 1).join('/') || '*';
    if (!compileExcludes([`/${component}`])(binary(name), true)) return undefined;
  }
  const rest = components.slice(names.length);
  return rest.length === 0 ? undefined : `/${rest.join('/')}`;
}

/** The patterns of a source as they read from the tree `relative` below it. */
export function excludesBelow(patterns: readonly string[], relative: string): string[] {
  const names = relative.split('/');
  const below = new Set<string>();
  for (const pattern of patterns) {
    const anchored = pattern.startsWith('/');
    const components = (anchored ? pattern.slice(1) : pattern).split('/');
    // Unanchored, it holds at every depth, and may also have begun in the directories above.
    if (!anchored) below.add(pattern);
    for (const start of anchored ? [0] : names.keys()) {
      const rest = remainder(components, names.slice(start));
      if (rest !== undefined && rest !== '/') below.add(rest);
    }
  }
  return [...below];
}

/** How borg begins patterns of its several kinds. */
const BORG_STYLE = /^(?:sh|fm|re|pp|pf):/;

/** Whether a pattern begins with the source's own path, as restic, borg and tar would have it. */
export function beginsWithOwnPath(pattern: string, source: string): boolean {
  return source !== '/' && pattern.startsWith(`${source}/`);
}

/**
 * Of the patterns of a source, those that leave out nothing for how they are written, as a warning each. `hasOwnPathBelow`: there is a
 * directory below it that such a pattern means. Pure.
 */
export function describeUseless(
  patterns: readonly string[],
  source: string,
  hasOwnPathBelow: boolean,
): string[] {
  return patterns.flatMap((pattern) => {
    if (!hasOwnPathBelow && beginsWithOwnPath(pattern, source)) {
      const meant = pattern.slice(source.length);
      return [
        `the exclude ${pattern} of ${source} leaves out nothing: patterns are relative to the source, so write ${meant}`,
      ];
    }
    if (BORG_STYLE.test(pattern))
      return [
        `the exclude ${pattern} of ${source} leaves out nothing: patterns are rsync's, which knows none that begins with ${pattern.slice(0, 3)}`,
      ];
    return [];
  });
}
