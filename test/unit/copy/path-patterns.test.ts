import { describe, expect, it } from 'vitest';
import { bytesOfPath, isText, nulTerminated, pathFromBytes } from '../../../src/copy/byte-path.js';
import type { BackupEntry } from '../../../src/copy/engine.js';
import { compilePattern } from '../../../src/copy/restore/path-pattern.js';
import { selectPaths } from '../../../src/copy/restore/select-paths.js';

describe('a path of any bytes', () => {
  it.each(['/srv/plain', '/srv/\u00fcber', '/srv/\u{1f4be}', '/srv/new\nline'])('keeps text: %j', (text) => {
    const binary = Buffer.from(text).toString('latin1');
    expect(pathFromBytes(binary)).toBe(text);
    expect(bytesOfPath(text)).toEqual(Buffer.from(text));
    expect(isText(text)).toBe(true);
  });

  it('keeps bytes that are no UTF-8 beside those that are', () => {
    for (const bytes of [[0x2f, 0xff], [0xc3], [0xc3, 0xbc, 0xfe, 0x61, 0xe2, 0x82], [0xed, 0xb2, 0x80]]) {
      const path = pathFromBytes(Buffer.from(bytes).toString('latin1'));
      expect([...bytesOfPath(path)]).toEqual(bytes);
      expect(isText(path)).toBe(false);
    }
    expect([...nulTerminated(['/a', '/\udcff'])]).toEqual([0x2f, 0x61, 0, 0x2f, 0xff, 0]);
  });
});

describe('a pattern', () => {
  const cases: [pattern: string, matching: string[], others: string[]][] = [
    ['/srv/*.html', ['/srv/a.html', '/srv/.html'], ['/srv/www/a.html', '/srv/a.htm', '/other/a.html']],
    ['/srv/**/*.html', ['/srv/a.html', '/srv/x/y/a.html'], ['/srvx/a.html', '/srv/a.htm']],
    ['/srv/**', ['/srv/a', '/srv/a/b'], ['/srv', '/srvx']],
    ['*.html', ['/a.html', '/srv/x/a.html'], ['/srv/a.html/x']],
    ['www/*', ['/www/a', '/srv/www/a'], ['/srv/www', '/srv/xwww/a']],
    ['/srv/?', ['/srv/a', '/srv/\u00fc', '/srv/\u{1f4be}', '/srv/\udcff'], ['/srv/ab', '/srv/']],
    ['/srv/[a-c]1', ['/srv/b1'], ['/srv/d1', '/srv/1']],
    ['/srv/[!a]', ['/srv/b', '/srv/\u20ac'], ['/srv/a', '/srv//']],
    ['/srv/a[1].txt', ['/srv/a1.txt', '/srv/a[1].txt'], ['/srv/a2.txt']],
    [String.raw`/srv/\*x*`, ['/srv/*x', '/srv/*xy'], ['/srv/ax']],
    ['/srv/[unclosed', ['/srv/[unclosed'], ['/srv/u']],
    ['/srv/a**b', ['/srv/ab', '/srv/axb'], ['/srv/a/b']],
    ['/srv/+(a)*', ['/srv/+(a)b'], ['/srv/aa']],
  ];

  it.each(cases)('%s', (pattern, matching, others) => {
    const matches = compilePattern(pattern);
    expect(matching.filter((one) => !matches(one))).toEqual([]);
    expect(others.filter(matches)).toEqual([]);
  });
});

describe('what is selected', () => {
  const ENTRIES: BackupEntry[] = [
    { path: '/srv', isDirectory: true },
    { path: '/srv/a.conf', isDirectory: false },
    { path: '/srv/etc', isDirectory: true },
    { path: '/srv/etc/b.conf', isDirectory: false },
    { path: '/srv/x[1]', isDirectory: false },
  ];
  async function* entries(): AsyncGenerator<BackupEntry> {
    yield* ENTRIES;
  }
  const select = (...given: string[]): ReturnType<typeof selectPaths> =>
    selectPaths(given, ['/srv'], () => Promise.resolve(entries()));

  it('is what the patterns match, without what comes with a directory', async () => {
    expect(await select('*.conf')).toEqual({ paths: ['/srv/a.conf', '/srv/etc/b.conf'], matched: 2 });
    expect(await select('/srv/*etc*', '**/b.conf')).toEqual({ paths: ['/srv/etc'], matched: 2 });
    expect(await select('/srv/x[1]')).toEqual({ paths: ['/srv/x[1]'], matched: 1 });
    expect(await select('/srv/gone', '/srv/a*')).toEqual({ paths: ['/srv/gone', '/srv/a.conf'], matched: 1 });
  });

  it('is everything where a pattern matches what holds all sources', async () => {
    expect(await select('/s*')).toEqual({ paths: [], matched: 1 });
  });

  it('is refused where one pattern of several matches nothing, and is named', async () => {
    await expect(select('*.conf', '*.html', '/srv/z?')).rejects.toMatchObject({
      code: 'usage',
      message: 'nothing in the backup matches *.html, /srv/z?',
    });
  });

  it('is told as a pattern where a name is no path', async () => {
    await expect(select('a.conf')).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining("a pattern: '**/a.conf'") as string,
    });
    expect(await select('**/a.conf')).toMatchObject({ matched: 1 });
  });

  it('asks for no list where there is no pattern', async () => {
    const none = (): never => {
      throw new Error('nobody needs it');
    };
    expect(await selectPaths(['/srv/a'], ['/srv'], none)).toEqual({ paths: ['/srv/a'], matched: null });
  });
});
