import { lstat } from 'node:fs/promises';
import { errnoOf, FsbackupError } from '../errors.js';
import { isWithin } from '../system/mountinfo.js';
import type { CopySource } from './engine.js';

/** Where an absolute path lies inside a backup: `srv/www`, the empty string for `/`. */
export function pathInBackup(path: string): string {
  return path.slice(1);
}

/** The directories above `path`, the outermost first: `/srv`, `/srv/www` for `/srv/www/x`. The root is left out. */
export function parentsOf(path: string): string[] {
  const names = pathInBackup(path).split('/');
  return names.slice(0, -1).map((_, index) => `/${names.slice(0, index + 1).join('/')}`);
}

/** Those of `paths` that lie in none of the others, each once. */
export function topmost(paths: readonly string[]): string[] {
  const unique = new Set(paths);
  const isBelowAnother = (path: string): boolean =>
    (path !== '/' && unique.has('/')) || parentsOf(path).some((parent) => unique.has(parent));
  return [...unique].filter((path) => !isBelowAnother(path));
}

/** The paths of the sources that lie below `source`, relative to it: they own their trees. */
export function nestedIn(source: CopySource, sources: readonly CopySource[]): string[] {
  return sources
    .filter((other) => other.path !== source.path && isWithin(other.path, source.path))
    .map((other) => other.path.slice(source.path === '/' ? 1 : source.path.length + 1));
}

function depth({ path }: CopySource): number {
  return path === '/' ? 0 : path.split('/').length;
}

/** The deepest paths first: a directory's own times are right only once nothing is made in it any more. */
export function deepestFirst(sources: readonly CopySource[]): CopySource[] {
  return sources.toSorted((a, b) => depth(b) - depth(a));
}

/** Rejects with `copyFailed` unless every source is a directory that can be read from. */
export async function requireSources(sources: readonly CopySource[]): Promise<void> {
  for (const { path, readFrom } of sources) {
    let isDirectory: boolean;
    try {
      isDirectory = (await lstat(readFrom)).isDirectory();
    } catch (error) {
      throw new FsbackupError('copyFailed', `${path} cannot be read (${errnoOf(error) ?? 'unknown error'})`, {
        hint: `Check that ${path} existed when the snapshot was made, and that its filesystem is whole.`,
        cause: error,
      });
    }
    if (!isDirectory) {
      throw new FsbackupError('copyFailed', `${path} is not a directory`, {
        hint: 'Name the directory that holds it as the source.',
      });
    }
  }
}
