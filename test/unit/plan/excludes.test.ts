import { describe, expect, it } from 'vitest';
import { excludesBelow, isExcluded } from '../../../src/plan/excludes.js';

describe('isExcluded', () => {
  it.each([
    ['/data', 'data', true],
    ['/data/', 'data', true],
    ['/data/***', 'data', true],
    ['/data/**', 'data', false],
    ['/data/**', 'data/x', true],
    ['/data', 'data/x/y', true],
    ['/data', 'other/data', false],
    ['data', 'other/data', true],
    ['d?ta', 'other/data/x', true],
    ['a/b', 'x/a/b', true],
    ['[d]ata', 'data', true],
    ['*.tmp', 'data', false],
  ])('%s over %s: %s', (pattern, relative, expected) => {
    expect(isExcluded([pattern], relative)).toBe(expected);
  });
});

describe('excludesBelow', () => {
  it.each([
    ['an unanchored name holds at every depth', '*.tmp', ['*.tmp']],
    ['an anchored one that reaches below loses its head', '/data/www/cache/*', ['/cache/*']],
    ['a wildcard in the head', '/*/www/cache', ['/cache']],
    ['an anchored one elsewhere is of no matter', '/data/other/cache', []],
    ['one that names the tree itself is of no matter', '/data/www/', []],
    ['an unanchored path may have begun above', 'www/cache', ['www/cache', '/cache']],
    ['two stars take up any directories', '/data/**/cache', ['cache']],
  ])('%s', (_, pattern, expected) => {
    expect(excludesBelow([pattern], 'data/www')).toEqual(expected);
  });
});
