import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readContents } from '../../../src/copy/btrfs/btrfs-contents.js';
import { readImageContents } from '../../../src/copy/image/image-contents.js';
import { storedName, storedParent, storedPath, storedPlace } from '../../../src/copy/stored/stored-names.js';
import { readZfsContents } from '../../../src/copy/zfs/zfs-contents.js';

const NAME = `fsbackup-${'j'.repeat(64)}-20260102T030405Z-1a2b3c-12-try2`;
const PARENT = { backupId: '20260102T030405Z-1a2b3c', name: NAME };
const TREE = { path: '/srv', image: NAME, subvolume: NAME, snapshot: NAME, inside: '' };
const image = { name: NAME, fstype: 'ext4', clean: true, sizeBytes: 1, storedBytes: 1, parent: PARENT };
const sent = { name: NAME, uuid: 'u', bytes: 1, parent: PARENT };
const received = {
  name: NAME,
  origin: 'tank/srv',
  kind: 'filesystem',
  isRaw: false,
  guid: '1',
  dataset: 'tank/backups/srv/x-0',
  bytes: 1,
  parent: PARENT,
};

const KINDS = [
  { of: 'images', read: readImageContents, is: {}, list: 'images', one: image, tree: 'image' },
  {
    of: 'btrfs',
    read: readContents,
    is: { kind: 'stream' },
    list: 'subvolumes',
    one: sent,
    tree: 'subvolume',
  },
  {
    of: 'ZFS',
    read: readZfsContents,
    is: { kind: 'stream', isComplete: true },
    list: 'snapshots',
    one: received,
    tree: 'snapshot',
  },
] as const;

describe.each(KINDS)('what a disk says of $of', ({ read, is, list, one, tree }) => {
  let data: string;
  beforeEach(async () => {
    data = path.join(await mkdtemp(path.join(os.tmpdir(), 'contents-')), 'data');
    await mkdir(data);
  });
  afterEach(() => rm(path.dirname(data), { recursive: true }));

  const write = async (changes: object = {}, ofTree: object = {}): Promise<void> => {
    const contents = { version: 1, ...is, trees: [{ ...TREE, ...ofTree }], [list]: [{ ...one, ...changes }] };
    await writeFile(path.join(data, 'contents.json'), JSON.stringify(contents));
  };

  it('is read as it was written, and not through a symlink', async () => {
    await write();
    expect(await read(data)).toMatchObject({ version: 1 });
    await rename(data, `${data}-elsewhere`);
    await symlink(`${data}-elsewhere`, data);
    await expect(read(data)).rejects.toMatchObject({ code: 'failed' });
  });

  it.each<[object, object]>([
    [{ name: '../evil' }, {}],
    [{ parent: { ...PARENT, backupId: '../x' } }, {}],
    [{ parent: { ...PARENT, name: 'a/b' } }, {}],
    [{}, { [tree]: '..' }],
    [{}, { inside: '../../root' }],
    [{}, { path: '/srv/../../etc' }],
  ])('leads nowhere: %j, %j', async (changes, ofTree) => {
    await write(changes, ofTree);
    await expect(read(data)).rejects.toMatchObject({ code: 'failed' });
  });
});

it.each<[string, { safeParse: (value: unknown) => { success: boolean } }, unknown[], unknown[]]>([
  ['a name', storedName, [NAME, 'a', 'job_1.x-0'], ['', '.', '..', '-x', '.x', 'a/b', 'a\n', 'a\0']],
  [
    'a parent',
    storedParent,
    [PARENT],
    [
      { ...PARENT, backupId: '..' },
      { ...PARENT, name: '' },
    ],
  ],
  ['a path', storedPath, ['/', '/srv', '/a..b/ü\n', '/srv/'], ['', 'srv', '/..', '/a/../b', '/a\0']],
  ['a place', storedPlace, ['', '.', '/', '/www', 'a/..b'], ['..', 'a/..', '/../x', 'a\0']],
])('%s is one', (_what, schema, good, bad) => {
  expect(good.filter((one) => !schema.safeParse(one).success)).toEqual([]);
  expect(bad.filter((one) => schema.safeParse(one).success)).toEqual([]);
});
