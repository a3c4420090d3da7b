import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeSnapshot } from '../../../src/copy/restic/restic-backup.js';
import { resticReference } from '../../../src/copy/restic/restic-reference.js';
import { ResticRepository } from '../../../src/copy/restic/restic-repository.js';
import type { runCommand } from '../../../src/system/run-command.js';

const ID = 'f4c0fee5'.padEnd(64, '0');
const SHORT = ID.slice(0, 8);
const DONE = { exitCode: 0, signal: undefined, notFound: false, timedOut: false, aborted: false, stderr: '' };

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'made-'));
  await mkdir(path.join(directory, 'snapshots'));
  await mkdir(path.join(directory, 'data'));
});
afterEach(() => rm(directory, { recursive: true }));

/** A restic that backs up, says that it made `told`, and lists `listed`; the commands that it was given. */
async function make(
  told: string,
  {
    localPath,
    listed = [],
    said,
  }: { localPath?: string; listed?: readonly string[]; said?: (tree: string) => string },
): Promise<{ commands: string[]; snapshot: string; unreadable?: readonly string[] }> {
  const commands: string[] = [];
  const run: typeof runCommand = async (argv, options) => {
    const command = argv.find((word) => word === 'backup' || word === 'snapshots') ?? '';
    commands.push(command);
    const summary = { total_files_processed: 1, total_bytes_processed: 2, snapshot_id: told };
    if (command === 'backup' && said !== undefined) options?.onStderrLine?.(said(directory));
    if (command === 'backup')
      options?.onStdoutLine?.(JSON.stringify({ message_type: 'summary', ...summary }));
    const snapshots = listed.map((id) => ({ id, tree: 'a', time: '2026-11-25T00:00:00Z' }));
    return await Promise.resolve({
      ...DONE,
      stdout: command === 'snapshots' ? JSON.stringify(snapshots) : '',
    });
  };
  const dataDirectory = path.join(directory, 'data');
  const tree = {
    names: ['srv'],
    inTree: (argv: readonly [string, ...string[]]): [string, ...string[]] => [...argv],
    remove: async () => {},
  };
  const { unreadable } = await makeSnapshot(
    {
      sources: [{ path: '/srv', readFrom: directory, exclude: [] }],
      dataDirectory,
      backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
      parentDataDirectory: undefined,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    },
    { repository: new ResticRepository(run, 'r', []), tree, directory, localPath, patienceMs: 60_000 },
  );
  const { snapshot } = await resticReference.read(dataDirectory);
  return { commands, snapshot, ...(said === undefined ? {} : { unreadable }) };
}

describe('the snapshot that restic made', () => {
  it('is the one whose whole id it told, and a repository elsewhere is not asked for it', async () => {
    expect(await make(ID, {})).toEqual({ commands: ['backup'], snapshot: ID });
  });

  it('is asked for where an old restic told the beginning of its id', async () => {
    expect(await make(SHORT, { listed: [ID] })).toEqual({ commands: ['backup', 'snapshots'], snapshot: ID });
    await expect(make(SHORT, { listed: [] })).rejects.toMatchObject({ code: 'copyFailed' });
  });

  it('is in the directory of a repository on this host, or was not made', async () => {
    for (const told of [ID, SHORT])
      await expect(make(told, { localPath: directory })).rejects.toMatchObject({ code: 'copyFailed' });
    await writeFile(path.join(directory, 'snapshots', ID), '');
    for (const told of [ID, SHORT])
      expect(await make(told, { localPath: directory })).toEqual({ commands: ['backup'], snapshot: ID });
  });

  it('lacks an attribute that could not be read, though restic ends well', async () => {
    const said = (tree: string): string =>
      `can not obtain extended attribute user.a for ${tree}/srv/x for y:`;
    expect((await make(ID, { said })).unreadable).toEqual(['/srv/x for y']);
  });

  it('is none of several whose ids begin alike', async () => {
    for (const end of ['1', '2'])
      await writeFile(path.join(directory, 'snapshots', SHORT.padEnd(64, end)), '');
    await expect(make(SHORT, { localPath: directory })).rejects.toMatchObject({ code: 'copyFailed' });
  });
});
