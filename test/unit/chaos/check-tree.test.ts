import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkLog, checkTree, possibleVersions } from '../../chaos/load/check-tree.js';

function crc(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

/** A record as load.c writes it, begun at so many ms. */
function record(sequence: number, beginMs: number): string {
  const body = `${sequence} ${beginMs * 1e6} payload`;
  return `${body} ${crc(body)}\n`;
}

function file(number: number, version: number): string {
  const text = `${number} ${version} 4\nabcd`;
  return `${text}\n${crc(text)}\n`;
}

const INTERVAL = { beginMs: 100, endMs: 120 };

describe('a log that was copied', () => {
  const whole = record(1, 10) + record(2, 50) + record(3, 110);

  it('is right with every record that was durable before, and none from after', () => {
    expect(checkLog(whole, [20, 60, 130], INTERVAL)).toEqual([]);
  });

  it.each([
    ['lacks what was durable', record(1, 10), [20, 60], 'durable before the snapshot'],
    ['has what was begun later', whole + record(4, 121), [20], 'record 4 was begun after'],
    ['is torn', `${whole}4 1`, [20], 'torn'],
    ['is damaged', whole.replace('payload', 'pAyload'), [20], 'record 1 is damaged'],
    ['has a gap', record(1, 10) + record(3, 50), [20], 'record 3 stands where 2 should'],
  ])('that %s is found', (_what, text, acknowledged, says) => {
    expect(checkLog(text, acknowledged, INTERVAL).join()).toContain(says);
  });
});

describe('the versions that a file may have', () => {
  const change = (version: number, beginMs: number, endMs: number) => ({ version, beginMs, endMs });

  it('are the last that was complete before, and those of the interval', () => {
    const changes = [
      change(1, 10, 20),
      change(2, 30, 40),
      change(3, 90, 105),
      change(4, 119, 130),
      change(5, 121, 140),
    ];
    expect([...possibleVersions(changes, INTERVAL)]).toEqual([2, 3, 4]);
  });

  it('are none for one that was first made later', () => {
    expect([...possibleVersions([change(1, 121, 122)], INTERVAL)]).toEqual([0]);
  });
});

describe('a tree that was copied', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'check-tree-'));
    await mkdir(path.join(directory, 'epoch-2'));
    await writeFile(path.join(directory, 'epoch-2', 'log'), record(1, 10));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function checked(content: string | undefined): Promise<string> {
    if (content !== undefined) await writeFile(path.join(directory, 'epoch-2', 'file-7'), content);
    const files = new Map([[7, [{ version: 3, beginMs: 50, endMs: 60 }]]]);
    return (await checkTree(directory, { epoch: 2, acknowledgedMs: [20], files }, INTERVAL)).join();
  }

  it('is right with the version that was there', async () => {
    expect(await checked(file(7, 3))).toBe('');
  });

  it.each([
    ['the version before', file(7, 2), 'version 2, and not one of 3'],
    ['no file', undefined, 'version 0, and not one of 3'],
    ['half of the file', file(7, 3).slice(0, 9), 'damaged'],
    ['a changed byte', file(7, 3).replace('abcd', 'abce'), 'damaged'],
    ["another file's content", file(8, 3), 'holds file-8'],
  ])('with %s is found', async (_what, content, says) => {
    expect(await checked(content)).toContain(says);
  });

  it('of a snapshot that is worth a power cut may lack data that was not fsynced, and no record', async () => {
    const files = new Map([[7, [{ version: 3, beginMs: 50, endMs: 60 }]]]);
    await writeFile(path.join(directory, 'epoch-2', 'file-7'), '');
    const check = async (acknowledgedMs: number[]) =>
      (await checkTree(directory, { epoch: 2, acknowledgedMs, files }, INTERVAL, true)).join();
    expect(await check([20])).toBe('');
    expect(await check([20, 60])).toContain('2 records were durable');
  });

  it('without the directory is found', async () => {
    await rm(path.join(directory, 'epoch-2'), { recursive: true });
    expect(await checked(undefined)).toContain('unreadable: ENOENT');
  });
});
