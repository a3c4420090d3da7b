import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compareDigests } from '../../../src/copy/digests/digest-compare.js';
import { isRefusal } from '../../../src/copy/copy-error.js';
import { readRecords, sortLines } from '../../../src/copy/digests/digest-lines.js';
import { finishDigestList } from '../../../src/copy/digests/digest-list.js';
import { sha256Of } from '../../../src/copy/stored/stored-file.js';
import {
  escapePath,
  formatRecord,
  parseRecord,
  unescapePath,
} from '../../../src/copy/digests/digest-record.js';
import { parseDigestLine } from '../../../src/copy/rsync/rsync-digests.js';
import { TarStream } from '../../../src/copy/tar/tar-stream.js';
import { runCommand } from '../../../src/system/run-command.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'digests-'));
});
afterEach(() => rm(directory, { recursive: true }));

const at = (name: string): string => path.join(directory, name);

async function list(name: string, lines: readonly string[], parent?: string): Promise<string[]> {
  await writeFile(at('raw'), lines.map((line) => `${line}\n`).join(''));
  const summary = await finishDigestList(at('raw'), at(name), parent === undefined ? undefined : at(parent));
  expect(summary.sha256).toBe(await sha256Of(at(name)));
  const found: string[] = [];
  for await (const record of readRecords(at(name))) found.push(formatRecord(record));
  expect(summary.entries).toBe(found.length);
  expect(summary.unknown).toBe(found.filter((line) => line.startsWith('f ?')).length);
  return found;
}

describe('a list of digests', () => {
  it('that there is no room to sort is a copy that has no room, of which nothing stays', async () => {
    await writeFile(at('raw'), 'd - 0 a\n');
    const sorting = sortLines(at('raw'), '/dev/full', 4, directory);
    await expect(sorting).rejects.toMatchObject({
      code: 'copyFailed',
      message: expect.stringContaining('No space left on device') as string,
    });
    await expect(sorting).rejects.toSatisfy(isRefusal);
  });

  it('is sorted, has each path once, and leaves nothing else behind', async () => {
    const raw = ['f bb 1 b', 'd - 0 a', 'f aa 1 b', 'f cc 2 B', 'd - 0 a'];
    expect(await list('one.gz', raw)).toEqual(['f cc 2 B', 'd - 0 a', 'f aa 1 b']);
    expect(await readdir(directory)).toEqual(['one.gz']);
  });

  it('keeps the digest of an earlier attempt, unless the file is another now', async () => {
    const raw = ['f aa 1 same', 'f bb 1 grown', 'f ? 1 same', 'f ? 2 grown'];
    expect(await list('one.gz', raw)).toEqual(['f ? 2 grown', 'f aa 1 same']);
  });

  it('has nothing of what could not be read, in whatever order that was told, unless it was read after all', async () => {
    await list('parent.gz', ['f aa 1 lost']);
    const raw = ['f ? 1 lost', 'f ! 0 lost', 'f ! 0 gone', 'f ? 1 gone', 'f ! 0 again', 'f bb 1 again'];
    expect(await list('one.gz', raw, 'parent.gz')).toEqual(['f bb 1 again']);
  });

  it('takes what was not read again from its parent, if it is of the same size', async () => {
    await list('parent.gz', ['f aa 1 a', 'f bb 1 b', 'L cc 0 c', 'f dd 4 z']);
    expect(
      await list('one.gz', ['f ? 1 a', 'f ? 2 b', 'f ? 0 c', 'f ? 3 m', 'f ee 4 z'], 'parent.gz'),
    ).toEqual(['f aa 1 a', 'f ? 2 b', 'f ? 0 c', 'f ? 3 m', 'f ee 4 z']);
  });

  it('gives further names the digest of the file, wherever that stands', async () => {
    await list('parent.gz', ['f aa 1 m']);
    const raw = ['f = 1 z m', 'f = 1 a m', 'f ? 1 m', 'f = 1 b gone', 'f bb 1 y', 'f = 1 c y'];
    expect(await list('one.gz', raw, 'parent.gz')).toEqual([
      'f aa 1 a',
      'f ? 1 b',
      'f bb 1 c',
      'f aa 1 m',
      'f bb 1 y',
      'f aa 1 z',
    ]);
  });

  it('may be empty', async () => {
    expect(await list('one.gz', [])).toEqual([]);
  });
});

describe('a comparison', () => {
  it('names what changed, is missing or too much', async () => {
    await list('expected.gz', ['f aa 1 a', 'f bb 1 b', 'd - 0 c', String.raw`f ee 1 e\040\377`, 'f ? 1 u']);
    await list('found.gz', ['f ab 1 a', 'f bb 2 b', 'f cc 0 c', 'f dd 1 d', 'f xx 1 u']);
    const compared = async (known: string[]) =>
      await compareDigests(readRecords(at('expected.gz')), readRecords(at('found.gz')), (missing) =>
        known.includes(missing),
      );
    expect(await compared([])).toEqual({
      changed: { count: 3, paths: ['/a', '/b', '/c'] },
      missing: { count: 1, paths: [String.raw`/e \377`] },
      extra: { count: 1, paths: ['/d'] },
      withoutDigest: 1,
    });
    expect((await compared([String.raw`/e \377`])).missing.count).toBe(0);
  });

  it('leaves no list open when the other cannot be read on', async () => {
    // More than is read at once.
    const digest = (): string => randomBytes(16).toString('hex');
    await list(
      'expected.gz',
      Array.from({ length: 20_000 }, (_, index) => `f ${digest()} 1 ${index}`),
    );
    const next = (): Promise<never> => Promise.reject(new Error('no more of it'));
    const broken = { [Symbol.asyncIterator]: () => ({ next }) };
    await expect(compareDigests(readRecords(at('expected.gz')), broken, () => false)).rejects.toThrow(
      'no more of it',
    );
    const open = async (): Promise<string[]> => {
      const fds = await readdir('/proc/self/fd');
      return await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
    };
    await vi.waitFor(async () => expect(await open()).not.toContain(at('expected.gz')));
  });
});

describe('a path in a list', () => {
  it('is ASCII without blanks, and every byte of it comes back', () => {
    const bytes = Array.from({ length: 255 }, (_, index) => String.fromCodePoint(index + 1)).join('');
    expect(escapePath(bytes)).toMatch(/^[!-~]+$/);
    expect(unescapePath(escapePath(bytes))).toBe(bytes);
    expect(() => parseRecord('nonsense')).toThrow('not a line');
  });
});

describe('what rsync tells of an entry', () => {
  const none = ' '.repeat(32);
  const digest = '5c73e7e3dcbb0395e841f27363849a18';

  it('is a record of it', () => {
    const parsed = (line: string) => parseDigestLine(line, 'srv');
    expect(parsed(`@>f+++++++++ ${digest} 2 a b//`)).toEqual({
      type: 'f',
      digest,
      sizeBytes: 2,
      path: String.raw`srv/a\040b`,
    });
    expect(parsed(`@hf          ${none} 2 x//`)).toMatchObject({ digest: '?', path: 'srv/x' });
    expect(parsed(`@hf+++++++++ ${none} 2 x => y// => d/z`)).toMatchObject({ digest: '=', link: 'srv/d/z' });
    expect(parsed(`@cd+++++++++ ${none} 4096 sub///`)).toMatchObject({ type: 'd', path: 'srv/sub' });
    expect(parsed(`@.d          ${none} 4096 .///`)).toMatchObject({ type: 'd', path: 'srv' });
    expect(parsed(String.raw`@>f+++++++++ ${digest} 1 n\#012l \#134#101//`)).toMatchObject({
      path: String.raw`srv/n\012l\040\134#101`,
    });
    expect(parsed('  1,238,099  99%  146.38kB/s  0:00:08 (xfr#5, to-chk=169/396)')).toBeUndefined();
  });

  it('tells symlinks of different targets apart', () => {
    const link = (target: string) => parseDigestLine(`@cL+++++++++ ${none} 3 l// -> ${target}`, '')?.digest;
    expect(link('a//b')).not.toBe(link('a//c'));
    expect(parseDigestLine(`@hL+++++++++ ${none} 3 l// => m`, '')).toMatchObject({ digest: '=', link: 'm' });
  });
});

describe('a stream of tar', () => {
  async function members(archive: string): Promise<string[]> {
    const told: string[] = [];
    const stream = new TarStream(({ type, path: name, linkPath, sizeBytes }, digest) => {
      if (digest !== undefined) told.push(`${type} ${sizeBytes} ${name} ${linkPath} ${digest.slice(0, 8)}`);
    });
    const { createReadStream } = await import('node:fs');
    // Pieces of an odd size: every boundary lies in the middle of something.
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    await pipeline(createReadStream(archive, { highWaterMark: 333 }), stream, sink);
    expect(stream.isWhole).toBe(true);
    return told;
  }

  it('tells of every member with the digest of its data, and of a damaged header', async () => {
    const long = 'n'.repeat(180);
    const script = `cd "$1" && mkdir d && printf content > d/f && ln d/f d/hard && ln -s f d/sym && : > d/empty
      printf x > "d/${long}" && truncate -s 1M d/sparse && printf y >> d/sparse
      tar --format=posix --sparse --sort=name -cf archive d`;
    expect((await runCommand(['bash', '-ec', script, 'bash', directory])).stderr).toBe('');
    const told = await members(at('archive'));
    const sha = (text: string): string =>
      text === '' ? 'e3b0c442' : ({ content: 'ed7002b4', x: '2d711642' }[text] ?? '');
    expect(told).toContain(`5 0 d/  ${sha('')}`);
    expect(told).toContain(`0 0 d/empty  ${sha('')}`);
    expect(told).toContain(`0 7 d/f  ${sha('content')}`);
    expect(told).toContain(`1 0 d/hard d/f ${sha('')}`);
    expect(told).toContain(`2 0 d/sym f ${sha('')}`);
    expect(told).toContain(`0 1 d/${long}  ${sha('x')}`);
    expect(told.find((line) => line.includes('d/sparse'))).toMatch(/^0 1048577 d\/sparse /);
    const bytes = await runCommand([
      'bash',
      '-ec',
      'printf Z | dd of="$1" bs=1 seek=3 conv=notrunc',
      'bash',
      at('archive'),
    ]);
    expect(bytes.exitCode).toBe(0);
    await expect(members(at('archive'))).rejects.toThrow('damaged');
  });
});
