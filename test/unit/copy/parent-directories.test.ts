import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { makeParents } from '../../../src/copy/parent-directories.js';

it('can be stopped while it copies the directories above a source', async () => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'parents-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const root = path.join(directory, 'root');
  await mkdir(root);
  const source = path.join(directory, 'source');
  const copied = makeParents(root, [{ path: source, readFrom: source, exclude: [] }], AbortSignal.abort());
  await expect(copied).rejects.toMatchObject({ code: 'copyFailed', message: 'the copy was stopped' });
});
