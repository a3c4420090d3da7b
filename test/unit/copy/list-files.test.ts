import { describe, expect, it } from 'vitest';
import { listFiles, renderFiles, type FilesFormat } from '../../../src/copy/backup/list-files.js';
import type { BackupEntry } from '../../../src/copy/engine.js';

const ENTRIES: BackupEntry[] = [
  { path: '/srv', isDirectory: true },
  { path: '/srv/a\nb', isDirectory: false },
  { path: '/srv/www', isDirectory: true },
  { path: '/srv/www/index.html', isDirectory: false },
  { path: '/srv/www2', isDirectory: false },
];

async function* all(entries = ENTRIES): AsyncGenerator<BackupEntry> {
  yield* entries;
}

async function paths(...asked: string[]): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of listFiles(all(), asked)) found.push(path);
  return found;
}

async function rendered(format: FilesFormat, entries = ENTRIES): Promise<string> {
  let text = '';
  for await (const piece of renderFiles(all(entries), format, { job: 'srv' })) text += piece.toString();
  return text;
}

describe('the files of a backup', () => {
  it('are all, or those at a path and below it, or those that match', async () => {
    expect(await paths()).toHaveLength(5);
    expect(await paths('/srv/www/')).toEqual(['/srv/www', '/srv/www/index.html']);
    expect(await paths('*.html')).toEqual(['/srv/www/index.html']);
    expect(await paths('index.html')).toEqual(['/srv/www/index.html']);
    await expect(paths('/srv/*.html')).rejects.toThrow('/srv/*.html');
  });

  it('that are not there are an error, once the others are told', async () => {
    await expect(paths('/srv/www2', '/srv/nothere')).rejects.toMatchObject({
      exitCode: 2,
      message: 'nothing in the backup is, or matches, /srv/nothere',
    });
  });

  it('are a line each, whatever their names are', async () => {
    expect(await rendered('lines')).toBe('/srv/\n/srv/a\\x0ab\n/srv/www/\n/srv/www/index.html\n/srv/www2\n');
    expect(await rendered('null')).toBe('/srv\0/srv/a\nb\0/srv/www\0/srv/www/index.html\0/srv/www2\0');
  });

  it('are one object, also where there are many, or none', async () => {
    expect(JSON.parse(await rendered('json'))).toEqual({ version: 1, job: 'srv', files: ENTRIES });
    expect(JSON.parse(await rendered('json', []))).toEqual({ version: 1, job: 'srv', files: [] });
    const many = Array.from({ length: 2500 }, (_, index) => ({ path: `/${index}`, isDirectory: false }));
    expect((JSON.parse(await rendered('json', many)) as { files: unknown[] }).files).toHaveLength(2500);
  });
});
