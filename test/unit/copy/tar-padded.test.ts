import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ARCHIVE, storedArchive } from '../../../src/copy/tar/tar-archive.js';
import { withoutPadded } from '../../../src/copy/tar/tar-padded.js';
import { verifyMembers } from '../../../src/copy/tar/tar-verify.js';
import { runCommand } from '../../../src/system/run-command.js';

describe('members of an archive that are known not to be in the backup', () => {
  const { signal } = new AbortController();
  const notInBackup = ['/srv/odd *[x]\\ ', '/srv/d', String.raw`/srv/new\012line`, '/srv/gone'];
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'tar-padded-'));
    const srv = path.join(directory, 'srv');
    await mkdir(path.join(srv, 'd'), { recursive: true });
    for (const name of ['odd *[x]\\ ', 'odd -x\\ ', 'd/file', 'new\nline', 'good'])
      await writeFile(path.join(srv, name), name);
    await runCommand(['ln', `${srv}/new\nline`, `${srv}/other name`]);
    const made = await runCommand([
      'tar',
      `--directory=${directory}`,
      '--use-compress-program=zstd -q',
      `--file=${path.join(directory, ARCHIVE)}`,
      '--create',
      '--sort=name',
      'srv',
    ]);
    expect(made).toMatchObject({ exitCode: 0 });
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('are not extracted, nor are names of them; a directory is', async () => {
    const archive = storedArchive(directory, runCommand);
    const out = path.join(directory, 'out');
    await mkdir(out);
    const args = await withoutPadded(archive, { notInBackup, signal }, directory);
    const done = await archive.tar('--extract', [`--directory=${out}`, ...args], { signal });
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    const { stdout } = await runCommand(['find', out, '-type', 'f', '-printf', String.raw`%P\n`]);
    expect(stdout.trim().split('\n').toSorted()).toEqual(['srv/d/file', 'srv/good', 'srv/odd -x\\ ']);
  });

  it('are no good files to a verify', async () => {
    const request = { dataDirectory: directory, digests: undefined, scratch: directory, signal };
    const look = { ...request, notInBackup, onProgress: () => undefined };
    expect(await verifyMembers(look, storedArchive(directory, runCommand))).toMatchObject({
      // One is a further name of what is lost.
      files: 4,
      problems: [],
    });
  });
});
