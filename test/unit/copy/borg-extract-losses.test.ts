import { describe, expect, it } from 'vitest';
import { extractArchive } from '../../../src/copy/borg/borg-extract.js';
import { plainText } from '../../../src/copy/borg/borg-output.js';
import { BorgRepository } from '../../../src/copy/borg/borg-repository.js';
import { UnreadablePaths } from '../../../src/copy/copy-error.js';
import type { RunWithSecrets } from '../../../src/copy/repository/repository-program.js';

const STAGED = '/mnt/.fsbackup-restore-0123456789abcdef/tree';

function message(text: string, levelname: string, name: string): string {
  return JSON.stringify({ type: 'log_message', time: 1764000000.5, message: text, levelname, name });
}

const listed = (name: string): string => message(name, 'INFO', 'borg.output.list');
const warning = (text: string): string => message(text, 'WARNING', 'borg.archiver');
const attribute = (text: string): string =>
  message(`when setting extended attribute user.big: ${text}`, 'WARNING', 'borg.xattr');

const TOO_BIG = 'fs full or xattr too big? [xattr len = 5000] ([Errno 28] No space left on device: ';
const DAMAGED = 'File has damaged (all-zero) chunks. Try running borg check --repair.';

/** What an extract of everything does not bring, by a borg that says this and ends with a code. */
async function lostOf(exitCode: number, ...lines: string[]): Promise<string[]> {
  const run: RunWithSecrets = async (_argv, options) => {
    for (const line of lines) options?.onStderrLine?.(line);
    const stderr = lines.join('\n');
    return {
      exitCode,
      signal: undefined,
      stdout: '',
      stderr,
      timedOut: false,
      aborted: false,
      notFound: false,
      durationMs: 1,
    };
  };
  const unreadable = new UnreadablePaths();
  const extraction = { staged: STAGED, paths: [], unreadable };
  const { signal } = new AbortController();
  await extractArchive(new BorgRepository(run, '/mnt/r', 'none'), 'a', extraction, signal);
  return unreadable.paths;
}

describe('what an extract of borg does not bring', () => {
  it('is a file of which one attribute is refused, and a full target is another thing', async () => {
    expect(await lostOf(1, listed('srv/a'), attribute(`${TOO_BIG}'<FD 6>')`), listed('srv/b'))).toEqual([
      '/srv/a',
    ]);
    const unsupported = attribute("[Errno 95] Operation not supported: '<FD 6>'");
    expect(await lostOf(1, listed('srv/a'), unsupported)).toEqual(['/srv/a']);
    await expect(
      lostOf(1, listed('srv/a'), warning("srv/a: write: [Errno 28] No space left on device: 'srv/a'")),
    ).rejects.toMatchObject({ code: 'copyFailed', message: expect.stringContaining('No space left') });
  });

  it('is a directory, which gets its attributes after what is in it', async () => {
    for (const [told, live] of [
      [`b'${STAGED}/srv/d'`, '/srv/d'],
      [`b"${STAGED}/srv/it's"`, "/srv/it's"],
      [String.raw`b'${STAGED}/srv/\xff\\ '`, String.raw`/srv/\377\ `],
    ] as const)
      expect(await lostOf(1, listed('srv/d/f'), attribute(`${TOO_BIG}${told})`))).toEqual([live]);
    const link = attribute(`[Errno 95] Operation not supported: b'${STAGED}/srv/link'`);
    expect(await lostOf(1, listed('srv/link'), link)).toEqual(['/srv/link']);
  });

  it('is no file whose attribute has a name like a message', async () => {
    const name = `when setting extended attribute user.: b'x: [Errno 5] y: ${TOO_BIG}'<FD 6>')`;
    expect(await lostOf(1, listed('srv/a'), warning(name))).toEqual(['/srv/a']);
  });

  it('is a file that is all zeros, also when something else is told too', async () => {
    const lines = [listed('srv/f1'), listed('srv/f3'), warning(`srv/f3: ${DAMAGED}`)];
    expect(await lostOf(1, ...lines)).toEqual(['/srv/f3']);
    expect(await lostOf(1, ...lines, warning("Include pattern 'pp:srv/x' never matched."))).toEqual([
      '/srv/f3',
    ]);
  });

  it('is what a warning begins with, in whatever words it goes on', async () => {
    expect(await lostOf(1, listed('srv/d/a: b'), warning('srv/d/a: b: quite new words'))).toEqual([
      '/srv/d/a: b',
    ]);
    expect(await lostOf(1, listed('srv/d/f'), warning('srv/d: quite new words'))).toEqual(['/srv/d']);
  });

  it('may be anything when nobody knows what a warning means, whatever else was said', async () => {
    const unknown = '/(some files: what it never said before)';
    expect(await lostOf(1, listed('srv/a'), warning('what it never said before'))).toEqual([unknown]);
    const lines = [listed('srv/a'), warning(`srv/a: ${DAMAGED}`), warning('what it never said before')];
    expect(await lostOf(1, ...lines)).toEqual(['/srv/a', unknown]);
  });

  it('is nothing of one that ends well, and all of one that says nothing', async () => {
    expect(await lostOf(0, listed('srv/a'), warning('a newer borg is there'))).toEqual([]);
    await expect(lostOf(1, listed('srv/a'))).rejects.toMatchObject({ code: 'copyFailed' });
    await expect(lostOf(2, listed('srv/a'), warning(`srv/a: ${DAMAGED}`))).rejects.toThrow(/exit code 2/);
  });

  it('is told without the names of all that was brought', async () => {
    expect(plainText([listed('No space left on device'), warning('why')].join('\n'))).toBe('why');
    const failed = lostOf(2, listed('srv/a'), attribute(`${TOO_BIG}'<FD 6>')`), warning('Killed'));
    await expect(failed).rejects.toThrow(/Killed/);
  });
});
