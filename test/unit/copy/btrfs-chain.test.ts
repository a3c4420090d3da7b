import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { roomForBtrfs } from '../../../src/copy/btrfs/btrfs-restore.js';

const [FIRST, SECOND] = ['20260101T000000Z-000001', '20260102T000000Z-000002'] as const;

describe('the chain of streams that a backup by btrfs-send is made of', () => {
  let job: string;
  beforeEach(async () => {
    job = await mkdtemp(path.join(os.tmpdir(), 'btrfs-chain-'));
  });
  afterEach(async () => {
    await rm(job, { recursive: true, force: true });
  });

  async function backup(id: string, parent: string | undefined): Promise<string> {
    const data = path.join(job, id, 'data');
    await mkdir(data, { recursive: true });
    const name = `of-${id}`;
    const of = parent === undefined ? {} : { parent: { backupId: parent, name: `of-${parent}` } };
    const contents = {
      version: 1,
      kind: 'stream',
      trees: [{ path: '/srv', subvolume: name, inside: '' }],
      subvolumes: [{ name, uuid: 'x', bytes: 100, ...of }],
    };
    await writeFile(path.join(data, 'contents.json'), JSON.stringify(contents));
    await writeFile(path.join(data, `${name}.btrfs.zst`), '');
    return data;
  }
  const room = async (dataDirectory: string): Promise<number> =>
    await roomForBtrfs({ dataDirectory, signal: new AbortController().signal });

  it('goes down to the full one', async () => {
    await backup(FIRST, undefined);
    expect(await room(await backup(SECOND, FIRST))).toBe(400);
  });

  it('is none where one needs itself, or what is not there', async () => {
    await backup(FIRST, SECOND);
    const data = await backup(SECOND, FIRST);
    await expect(room(data)).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining('has no of-'),
    });
    await expect(room(await backup(FIRST, FIRST))).rejects.toMatchObject({ code: 'failed' });
    await backup(FIRST, undefined);
    await writeFile(
      path.join(job, FIRST, 'data', 'contents.json'),
      JSON.stringify({ version: 1, kind: 'stream', trees: [], subvolumes: [] }),
    );
    await expect(room(data)).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining(FIRST),
    });
  });
});
