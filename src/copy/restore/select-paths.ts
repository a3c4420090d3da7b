import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { shellWord } from '../../system/command-line.js';
import { isWithin } from '../../system/mountinfo.js';
import type { BackupEntry } from '../engine.js';
import { compilePattern, isPattern } from './path-pattern.js';
import { parentsOf } from '../source-layout.js';

/** What is to be restored. */
export interface SelectedPaths {
  /** Absolute, on the live system; none lies in another. Empty: everything. */
  paths: string[];
  /** How many entries the patterns matched; null without patterns. */
  matched: number | null;
}

function asHeld(wanted: string, sources: readonly string[]): string {
  const given = path.isAbsolute(wanted) ? path.normalize(wanted).replace(/(?<=.)\/$/, '') : undefined;
  const isHeld = (one: string): boolean =>
    sources.some((source) => isWithin(one, source) || isWithin(source, one));
  if (given !== undefined && isHeld(given)) return given;
  const isName = !wanted.includes('/') && wanted !== '.' && wanted !== '..';
  throw new FsbackupError('usage', `${wanted} is not in the backup, which holds ${sources.join(', ')}`, {
    hint: isName
      ? `Name paths as they were on the live system; a name in any directory is a pattern: ${shellWord(`**/${wanted.replaceAll('\\', '\\\\')}`)}`
      : 'Name paths as they were on the live system, such as /srv/www/index.html.',
  });
}

async function match(
  patterns: readonly string[],
  literal: ReadonlySet<string>,
  entries: AsyncIterable<BackupEntry>,
): Promise<{ found: Set<string>; matched: number }> {
  const tests = patterns.map((pattern) => ({ pattern, matches: compilePattern(pattern), isUsed: false }));
  const found = new Set(literal);
  let matched = 0;
  for await (const entry of entries) {
    let isMatch = false;
    for (const test of tests) {
      if (!test.matches(entry.path)) continue;
      test.isUsed = true;
      isMatch = true;
    }
    if (!isMatch) continue;
    matched += 1;
    // What lies in a directory that is wanted comes with it.
    if (!parentsOf(entry.path).some((parent) => found.has(parent))) found.add(entry.path);
  }
  const unused = tests.filter(({ isUsed }) => !isUsed).map(({ pattern }) => pattern);
  if (unused.length > 0) {
    throw new FsbackupError('usage', `nothing in the backup matches ${unused.join(', ')}`, {
      hint: 'Patterns are about paths as they were on the live system: /srv/www/*.html, /srv/**/*.conf, *.conf. Quote them, so that the shell leaves them alone.',
    });
  }
  return { found, matched };
}

/**
 * Finds out what paths and patterns mean. Patterns are looked up in the entries; paths are taken as they are, and
 * one that the backup does not have is told of by the restore. `/` is everything, and so is a directory above all
 * sources. Rejects with `usage` for a path outside of the sources and a pattern that matches nothing.
 */
export async function selectPaths(
  given: readonly string[],
  sources: readonly string[],
  entries: () => Promise<AsyncIterable<BackupEntry>>,
): Promise<SelectedPaths> {
  const paths = given.filter((one) => !isPattern(one)).map((one) => asHeld(one, sources));
  const patterns = given.filter(isPattern);
  const isAll = (one: string): boolean => sources.every((source) => isWithin(source, one));
  if (patterns.length === 0) return { paths: paths.some(isAll) ? [] : paths, matched: null };
  const { found, matched } = await match(patterns, new Set(paths), await entries());
  const all = [...found];
  return { paths: all.some(isAll) ? [] : all, matched };
}
