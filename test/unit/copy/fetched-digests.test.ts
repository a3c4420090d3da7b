import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isDigestList } from '../../../src/copy/digests/digest-check.js';
import { finishDigestList } from '../../../src/copy/digests/digest-list.js';
import { formatRecord, plainRecord } from '../../../src/copy/digests/digest-record.js';
import { LimitedFile } from '../../../src/copy/rsync-remote/limited-file.js';

const X = 'a'.repeat(32);

describe('a list of digests that comes from elsewhere', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'fetched-digests-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function isList(content: string | Buffer): Promise<boolean> {
    const file = path.join(directory, 'list.gz');
    await writeFile(file, typeof content === 'string' ? gzipSync(content) : content);
    return await isDigestList(file);
  }

  it('is one as this host writes it', async () => {
    const raw = path.join(directory, 'raw');
    const names = ['srv', 'srv/b', 'srv/a b', 'srv/\u00FF\n', 'srv/..a', 'srv-x'];
    const records = [
      ...names.map((name) => plainRecord('d', name)),
      plainRecord('L', 'srv/link', '../x'),
      { type: 'f', digest: '?', sizeBytes: 12, path: 'srv/f' } as const,
      { type: 'f', digest: X, sizeBytes: 12, path: 'srv/g' } as const,
      { type: 'f', digest: '=', sizeBytes: 0, path: 'srv/h', link: 'srv/g' } as const,
    ];
    await writeFile(raw, `${records.map(formatRecord).join('\n')}\n`, 'latin1');
    await finishDigestList(raw, path.join(directory, 'made.gz'), undefined);
    expect(await isDigestList(path.join(directory, 'made.gz'))).toBe(true);
  });

  it.each([
    ['not packed', Buffer.from(`f ${X} 1 a\n`)],
    ['cut short', gzipSync(`f ${X} 1 a\n`).subarray(0, 12)],
    ['without a last newline', `f ${X} 1 a`],
    ['in another order', `f ${X} 1 b\nf ${X} 1 a\n`],
    ['with a path twice', `f ${X} 1 a\nf ${X} 1 a\n`],
    ['with a path from the root', `f ${X} 1 /etc/passwd\n`],
    ['with a path that leads out', `f ${X} 1 srv/../../etc/passwd\n`],
    ['with an escaped path that leads out', `f ${X} 1 srv/\\056\\056/x\n`],
    ['with an escaped slash that leads out', `f ${X} 1 ..\\057x\n`],
    ['with a NUL', `f ${X} 1 srv\\000\n`],
    ['of something else', 'hello\n'],
    ['one endless line', `f ${X} 1 ${'a'.repeat(5_000_000)}`],
  ])('is none when it is %s', async (_, content) => {
    expect(await isList(content)).toBe(false);
  });

  it('is no longer than was told', async () => {
    const file = path.join(directory, 'part');
    const send = async (text: string): Promise<void> => {
      const to = new LimitedFile(file, 8);
      try {
        await pipeline(Readable.from([Buffer.from(text.slice(0, 5)), Buffer.from(text.slice(5))]), to);
      } finally {
        await to.close();
      }
    };
    await send('12345678');
    expect(await readFile(file, 'utf8')).toBe('12345678');
    await expect(send('123456789')).rejects.toThrow('more than 8 bytes');
    expect(await readFile(file, 'utf8')).toBe('12345');
    const nowhere = new LimitedFile(path.join(directory, 'no', 'where'), 8);
    await expect(pipeline(Readable.from([Buffer.from('x')]), nowhere)).rejects.toThrow('ENOENT');
    await nowhere.close();
    expect(await readdir(directory)).toEqual(['part']);
  });
});
