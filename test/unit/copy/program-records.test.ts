import { describe, expect, it } from 'vitest';
import { literalForPython } from '../../../src/copy/borg/borg-excludes.js';
import { batchesOf } from '../../../src/copy/path-batches.js';
import { programRecords } from '../../../src/copy/program-records.js';
import { describeFailure, runCommand, type CommandResult } from '../../../src/system/run-command.js';

function check(result: CommandResult): void {
  if (result.exitCode !== 0) throw new Error(describeFailure('the program', result));
}

function recordsOf(argv: [string, ...string[]], end = '\n'): AsyncGenerator<string[]> {
  const { signal } = new AbortController();
  return programRecords((options) => runCommand(argv, options), { end, signal, check });
}

describe('the records of a program', () => {
  it('come all, in order, however many there are', async () => {
    let [count, last] = [0, ''];
    for await (const batch of recordsOf(['seq', '1000000'])) {
      count += batch.length;
      last = batch.at(-1) ?? last;
    }
    expect([count, last]).toEqual([1_000_000, '1000000']);
  });

  it('have all bytes, and end as they are said to', async () => {
    const found: string[] = [];
    for await (const batch of recordsOf(['printf', String.raw`a\377\nb\0c`], '\0')) found.push(...batch);
    expect(found).toEqual(['a\u00ff\nb', 'c']);
  });

  it('are not to be trusted when it fails', async () => {
    const found: string[] = [];
    const all = (async () => {
      for await (const batch of recordsOf(['sh', '-c', 'echo one; exit 3'])) found.push(...batch);
    })();
    await expect(all).rejects.toThrow('exit code 3');
    expect(found).toEqual(['one']);
  });

  it('end it when nobody wants more of them', async () => {
    let first = '';
    for await (const batch of recordsOf(['yes'])) {
      first = batch[0] ?? '';
      break;
    }
    expect(first).toBe('y');
  });
});

describe('paths for a command line', () => {
  it('are as many groups as it takes, none of them lost', () => {
    const paths = Array.from({ length: 10 }, (_, index) => `/srv/${index}`);
    const batches = batchesOf(paths, 21);
    expect(batches.map((batch) => batch.length)).toEqual([3, 3, 3, 1]);
    expect(batches.flat()).toEqual(paths);
    expect(batchesOf([])).toEqual([[]]);
    expect(batchesOf(['/too/long'], 3)).toEqual([['/too/long']]);
  });
});

describe('a text in a regular expression of Python', () => {
  it('is written so that it means itself, beyond 16 bits too', () => {
    expect(literalForPython('a.b/\u00fc')).toBe(String.raw`a\u002eb/\u00fc`);
    expect(literalForPython('\u{1f4be}')).toBe(String.raw`\U0001f4be`);
  });
});
