import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { removeTree } from '../../../src/copy/remove-tree.js';
import * as runCommandModule from '../../../src/system/run-command.js';

vi.mock('../../../src/system/run-command.js', { spy: true });

describe('removing a tree', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'remove-tree-'));
    vi.mocked(runCommandModule.runCommand).mockClear();
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it('removes all that is in it, whatever its names are made of', async () => {
    const tree = path.join(directory, 'tree');
    mkdirSync(path.join(tree, 'below'), { recursive: true });
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/below/`), Buffer.from([0xff, 0xfe])]), '');
    await removeTree(tree);
    expect(existsSync(tree)).toBe(false);
  });

  it('starts no program for what is not there', async () => {
    await removeTree(path.join(directory, 'absent'));
    expect(runCommandModule.runCommand).not.toHaveBeenCalled();
  });

  it('says why where it cannot be told whether it is there', async () => {
    const tree = path.join(directory, 'x'.repeat(300));
    await expect(removeTree(tree)).rejects.toMatchObject({
      code: 'cleanupIncomplete',
      message: expect.stringContaining('File name too long') as string,
    });
  });
});
