import { describe, expect, it } from 'vitest';
import { resticExcludes, translateExclude } from '../../../src/copy/restic/restic-excludes.js';

describe('an exclude pattern of rsync, for restic', () => {
  it.each([
    ['*.log', '/t/srv/**/*.log'],
    ['/cache', '/t/srv/cache'],
    ['a/b', '/t/srv/**/a/b'],
    ['/a/*/c', '/t/srv/a/*/c'],
    ['**/core', '/t/srv/**/core'],
    ['/a/**/b', '/t/srv/a/*/**/b'],
    ['/a/**', '/t/srv/a/*'],
    ['[!a-c]?', '/t/srv/**/[^a-c]?'],
    // Directories only: what is in them.
    ['node_modules/', '/t/srv/**/node_modules/*'],
    ['/tmp/', '/t/srv/tmp/*'],
    ['/tmp/***', '/t/srv/tmp/*'],
    // Without a wildcard a backslash is one; with one it escapes.
    [String.raw`a\b`, String.raw`/t/srv/**/a\\b`],
    [String.raw`a\*b*`, String.raw`/t/srv/**/a\*b*`],
  ])('%s becomes %s', (pattern, translated) => {
    expect(translateExclude(pattern, '/t/srv')).toBe(translated);
  });

  it.each(['a**b', '[[:alpha:]]', '/', '**', 'a//b', '[!]ab]', '[ab'])('%s is refused', (pattern) => {
    expect(() => translateExclude(pattern, '/t/srv')).toThrow('restic cannot leave out');
  });

  it('holds for its own source alone, whose name is taken literally', () => {
    const source = (
      path: string,
      exclude: string[],
    ): { path: string; readFrom: string; exclude: string[] } => ({
      path,
      readFrom: '/x',
      exclude,
    });
    const sources = [source('/srv/db', ['*.tmp']), source('/srv', ['*.log']), source('/a[1]', ['x'])];
    expect(resticExcludes(sources, '/t')).toEqual([
      '/t/srv/**/*.log',
      String.raw`/t/a\[1]/**/x`,
      '!/t/srv/db',
      '/t/srv/db/**/*.tmp',
    ]);
  });
});
