import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import type { CopySource } from '../engine.js';
import { nestedIn, pathInBackup } from '../source-layout.js';

/** Makes restic take a text as it is: its patterns are those of Go's filepath.Match, between slashes. */
export function literalForRestic(text: string): string {
  return text.replaceAll(/[*?[\\]/g, String.raw`\$&`);
}

function refuse(pattern: string, why: string): FsbackupError {
  return new FsbackupError('usage', `restic cannot leave out what "${pattern}" matches: ${why}`, {
    hint: 'Write the pattern otherwise, or use the rsync or tar engine for this target.',
  });
}

const WILDCARDS = /[*?[]/;

/** One name of a pattern, which has no slash. */
function translateName(name: string, pattern: string, isWild: boolean): string {
  if (!isWild) return literalForRestic(name);
  if (name === '**') return '*/**';
  if (name.includes('**')) throw refuse(pattern, '** can stand there only for whole names');
  if (name.includes('[:')) throw refuse(pattern, 'it knows no classes such as [:alpha:]');
  if (/\[[!^]?\]/.test(name)) throw refuse(pattern, 'a bracket cannot be the first of a class');
  if (/\[[^\]]*$/.test(name.replaceAll(/\\./g, ''))) throw refuse(pattern, 'a class has no end');
  // Both negate; Go knows the one of them.
  return name.replaceAll('[!', '[^');
}

/**
 * Translates an exclude pattern of rsync into one of restic's, for what lies in `root`, a literal pattern itself.
 * Differs where it says so: of a directory that only `name/` matches restic keeps the directory itself, empty. Throws
 * `usage` for a pattern that restic has nothing for.
 */
export function translateExclude(pattern: string, root: string): string {
  const directoriesOnly = /(?:\/|\/\*\*\*)$/.test(pattern) && pattern !== '/';
  const body = pattern.replace(/(?:\/|\/\*\*\*)$/, '');
  if (body === '' || body === '/') throw refuse(pattern, 'it is the source itself');
  const isWild = WILDCARDS.test(body);
  const anchored = body.startsWith('/');
  const names = (anchored ? body.slice(1) : body).split('/');
  // `**/x` is x at any depth, the top included; `x/**` is all that lies in x.
  const floats = !anchored || names[0] === '**';
  const inside = names[0] === '**' ? names.slice(1) : names;
  if (inside.length === 0 || inside.includes('')) throw refuse(pattern, 'it has no name in it');
  const translated = inside.map((name, index) =>
    name === '**' && index === inside.length - 1 ? '*' : translateName(name, pattern, isWild),
  );
  return [root, ...(floats ? ['**'] : []), ...translated, ...(directoriesOnly ? ['*'] : [])].join('/');
}

/**
 * The exclude patterns for sources that lie merged in `tree`: the outer sources' first, each nested source then taken
 * back from them before its own come.
 */
export function resticExcludes(sources: readonly CopySource[], tree: string): string[] {
  const outermostFirst = sources.toSorted((a, b) => a.path.length - b.path.length);
  return outermostFirst.flatMap((source) => {
    const at = literalForRestic(path.join(tree, pathInBackup(source.path)).replace(/\/$/, ''));
    const isNested = sources.some((outer) => nestedIn(outer, [source]).length > 0);
    const patterns = source.exclude.map((pattern) => translateExclude(pattern, at));
    return [...(isNested ? [`!${at}`] : []), ...patterns];
  });
}
