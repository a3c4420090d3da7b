import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { linkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import { writeMemberList } from '../../src/copy/tar/tar-members.js';
import { describeNeeding } from '../support/capabilities.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { must } from '../support/throwaway-filesystem.js';

const FILES = [
  'a',
  'a.log',
  'foo',
  'foobar',
  'Foo',
  'dir/a',
  'dir/a.log',
  'dir/foo',
  'dir/sub/a',
  'dir/sub/foo',
  'dir/sub/deep/foo',
  'foo.d/foo/foo',
  'cache/x/keep',
  'cache/y/z/keep',
  'other/cache/x/keep',
  'brackets/[a]',
  'brackets/a]',
  'brackets/b',
  'brackets/-',
  'brackets/!',
  'stars/*',
  'stars/**',
  'stars/back\\slash',
  'stars/question?',
  'odd/new\nline',
  'odd/trailing ',
  'odd/ü',
  'odd/.hidden',
  'odd/.hidden.d/x',
  '- foo',
  '+ foo',
  '#hash',
  'digit1',
  'digit2x',
];

/** Patterns to leave things out by, each list one configuration's. */
const PATTERNS: readonly (readonly string[])[] = [
  [],
  ['foo'],
  ['/foo'],
  ['foo/'],
  ['/dir'],
  ['/dir/'],
  ['/dir/*'],
  ['/dir/**'],
  ['/dir/***'],
  ['dir/***'],
  ['*.log'],
  ['/*.log'],
  ['a'],
  ['dir/a'],
  ['sub/foo'],
  ['/sub/foo'],
  ['dir/*/foo'],
  ['dir/**/foo'],
  ['dir/**foo'],
  ['**/foo'],
  ['/**/foo'],
  ['**foo'],
  ['**/sub/'],
  ['foo**'],
  ['fo?'],
  ['?oo'],
  ['[fF]oo'],
  ['[!f]oo'],
  ['[^f]oo'],
  ['[a-f]oo'],
  ['brackets/[[]a]'],
  ['brackets/[]a]'],
  ['brackets/[]ab-]'],
  ['brackets/[!]ab]'],
  [String.raw`brackets/\[a\]`],
  ['[a]'],
  ['[a'],
  [String.raw`stars/\*`],
  [String.raw`stars/\**`],
  ['stars/*'],
  [String.raw`back\slash`],
  [String.raw`back\\slash`],
  [String.raw`back\\s*`],
  [String.raw`back\s*`],
  ['question?'],
  [String.raw`question\?`],
  ['new\nline'],
  ['new*'],
  ['new?line'],
  ['trailing '],
  ['ü'],
  ['?'],
  ['??'],
  ['.*'],
  ['.hidden*/'],
  ['cache/*/keep'],
  ['cache/**/keep'],
  ['/cache/'],
  ['cache/x', 'other'],
  ['- foo'],
  ['+ foo'],
  ['#hash'],
  ['digit[[:digit:]]'],
  ['digit[[:digit:]]*'],
  ['digit[![:alpha:]]'],
  ['*'],
  ['/*'],
  ['**'],
  ['/'],
  ['*/'],
  ['*/*/'],
  ['/*/a'],
  ['foo.d/foo'],
  ['foo/foo'],
  ['*oo', '*.log', '/odd/***'],
];

describeNeeding(['root', 'program:rsync', 'program:tar', 'program:zstd'], 'exclude patterns', () => {
  let root: string;
  let tree: string;
  const signal = new AbortController().signal;

  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'patterns-'));
    tree = path.join(root, 'tree');
    for (const name of FILES) {
      await mkdir(path.dirname(path.join(tree, name)), { recursive: true });
      await writeFile(path.join(tree, name), name);
    }
    linkSync(path.join(tree, 'a'), Buffer.from(`${tree}/odd/latin1-\xFC`, 'latin1'));
  });
  afterAll(() => rm(root, { recursive: true }));

  /** What rsync itself would transfer, in its own order. */
  async function byRsync(patterns: readonly string[]): Promise<string[]> {
    const filters = patterns.map((pattern) => `--filter=- ${pattern}`);
    const listed = await must(
      'rsync',
      '-a',
      '--dry-run',
      '--out-format=%n',
      ...filters,
      `${tree}/`,
      `${root}/nowhere/`,
    );
    return listed
      .split('\n')
      .filter((name) => name !== './' && !name.startsWith('created directory'))
      .map((name) => name.replace(/\/$/, ''))
      .map((name) =>
        name.replaceAll(/\\#([0-7]{3})/g, (_, octal: string) =>
          String.fromCodePoint(Number.parseInt(octal, 8)),
        ),
      )
      .toSorted();
  }

  async function byUs(exclude: readonly string[]): Promise<string[]> {
    const list = path.join(root, 'list');
    const { files } = await writeMemberList(
      list,
      [{ spelledAs: tree, livePath: '/srv', exclude, nested: [], withRoot: false }],
      { signal, onUnreadable: (found) => expect.unreachable(found) },
    );
    const names = (await readFile(list, 'latin1')).split('\0').slice(0, -1);
    expect(files).toBeLessThanOrEqual(names.length);
    return names.map((name) => name.slice(tree.length + 1)).toSorted();
  }

  it('leave out what rsync leaves out', async () => {
    expect((await byUs([])).length).toBeGreaterThan(FILES.length);
    for (const patterns of PATTERNS) {
      expect.soft(await byUs(patterns), JSON.stringify(patterns)).toEqual(await byRsync(patterns));
    }
  });

  it('give the same backup by both engines', async () => {
    const exclude = ['*.log', '/dir/sub/', 'cache/**/keep', '[a]', 'brackets/[!]ab]', 'new*'];
    const restored: string[] = [];
    for (const engine of [createRsyncEngine(), createTarEngine()]) {
      const [dataDirectory, destination] = [
        path.join(root, engine.name),
        path.join(root, `${engine.name}-out`),
      ];
      await mkdir(dataDirectory);
      await mkdir(destination);
      await engine.copy({
        sources: [{ path: '/srv', readFrom: tree, exclude }],
        dataDirectory,
        backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
        parentDataDirectory: undefined,
        signal,
        onProgress: () => undefined,
      });
      await engine.restore({
        dataDirectory,
        sources: ['/srv'],
        destination,
        paths: [],
        signal,
        onProgress: () => undefined,
      });
      restored.push(
        await must('bash', '-c', 'cd "$1" && find . -print0 | sort -z | tr "\\0" "\\n"', 'bash', destination),
      );
    }
    const [first, second] = restored;
    expect(first).toContain('./srv/foobar');
    expect(first).not.toContain('.log');
    expect(second).toBe(first);
  });

  it('leave out the same files by engines with repositories, of a nested source its own', async () => {
    const exclude = ['*.log', '/dir/sub/', '[a]', 'foo?ar', 'new*', '/cache/**/keep'];
    const { target: restic, run } = resticRepository(path.join(root, 'restic-repository'));
    const { target: borg } = borgRepository(path.join(root, 'borg-repository'));
    const treeDirectory = path.join(root, 'merged');
    const engines = [
      createRsyncEngine(),
      createResticEngine(restic, { run, treeDirectory }),
      createBorgEngine(borg, { run, treeDirectory }),
    ];
    const inner = path.join(root, 'inner');
    await mkdir(inner);
    for (const name of ['kept.log', 'left.out']) await writeFile(path.join(inner, name), 'x');
    const sources = [
      { path: '/srv', readFrom: tree, exclude },
      { path: '/srv/dir/sub', readFrom: inner, exclude: ['*.out'] },
    ];
    const restored: string[] = [];
    for (const engine of engines) {
      await engine.openRepository?.({ initialise: true });
      const [dataDirectory, destination] = ['', '-out'].map((end) =>
        path.join(root, `own-${engine.name}${end}`),
      );
      await mkdir(dataDirectory ?? '');
      await mkdir(destination ?? '');
      const request = { dataDirectory: dataDirectory ?? '', signal, onProgress: () => undefined };
      const backup = { job: 'excludes', backupId: '20261123T184500Z-1a2b3c' };
      await engine.copy({ ...request, sources, backup, parentDataDirectory: undefined });
      await engine.restore({ ...request, sources: ['/srv'], destination: destination ?? '', paths: [] });
      restored.push(
        await must(
          'bash',
          '-c',
          'cd "$1" && find . ! -type d -print0 | sort -z | tr "\\0" "\\n"',
          'bash',
          destination ?? '',
        ),
      );
    }
    const [byRsyncItself, ...others] = restored;
    expect(byRsyncItself).toContain('./srv/dir/sub/kept.log');
    expect(byRsyncItself).not.toContain('.out');
    expect(byRsyncItself).not.toContain('foobar');
    expect(others).toEqual([byRsyncItself, byRsyncItself]);
  }, 240_000);
});
