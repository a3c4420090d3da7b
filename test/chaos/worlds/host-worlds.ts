import { existsSync, readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createBaseStore } from '../../../src/copy/filesystem/base-store.js';
import type { ThrowawayFilesystem, ThrowawayType } from '../../support/throwaway-filesystem.js';
import {
  changesOf,
  commonParts,
  environmentOf,
  type FindLeft,
  type World,
  type WorldParts,
} from './world.js';

const ARRAY = path.resolve(import.meta.dirname, 'slow-array');
const SNAPSHOTS = '.fsbackup-snapshots';

/** What somebody else has where our snapshots lie. */
const FOREIGN = 'somebody-elses';

async function changesBelow(directory: string): Promise<FindLeft> {
  return await changesOf(() =>
    Promise.resolve(
      existsSync(directory) ? readdirSync(directory).map((name) => path.join(directory, name)) : [],
    ),
  );
}

/** The directory of the snapshots, with something in it that is not ours. */
async function withForeign(directory: string, plant: (name: string) => Promise<unknown>): Promise<FindLeft> {
  await mkdir(directory, { mode: 0o700 });
  await plant(path.join(directory, FOREIGN));
  return await changesBelow(directory);
}

async function onImage(
  fstype: ThrowawayType,
  outer: 'xfs' | 'btrfs',
  name: string,
  parts: WorldParts,
): Promise<{ origin: ThrowawayFilesystem; storage: ThrowawayFilesystem }> {
  const { disks } = parts;
  const storage = await disks.filesystem({ fstype: outer, name: `${name}-storage`, sizeMiB: 1024 });
  const sizeMiB = fstype === 'ext4' ? 64 : 320;
  return { origin: await disks.filesystem({ fstype, name, sizeMiB, on: storage }), storage };
}

async function reflinkWorld(
  fstype: ThrowawayType,
  outer: 'xfs' | 'btrfs',
  parts: WorldParts,
): Promise<World> {
  const name = `${fstype}-reflink-${outer}`;
  const { origin, storage } = await onImage(fstype, outer, name, parts);
  return {
    ...(await commonParts(name, parts, origin, storage)),
    source: { path: origin.mountpoint, snapshot: 'reflink' },
    provider: 'reflink',
    freezes: true,
    findLeft: await withForeign(path.join(storage.mountpoint, SNAPSHOTS), (file) => writeFile(file, '')),
    snapshotProgram: undefined,
  };
}

/** A storage array that takes its time: `slow-array`. Its snapshots are held in a directory of its own. */
async function commandWorld(fstype: ThrowawayType, parts: WorldParts): Promise<World> {
  const name = `${fstype}-command`;
  const { origin, storage } = await onImage(fstype, 'xfs', name, parts);
  const store = path.join(storage.mountpoint, 'store');
  const findLeft = await withForeign(store, (file) => writeFile(file, ''));
  return {
    ...(await commonParts(name, parts, origin, storage)),
    source: {
      path: origin.mountpoint,
      snapshot: 'command',
      freezeMode: 'explicit',
      commands: {
        create: [ARRAY, store, 'create', '{device}', '{name}'],
        expose: [ARRAY, store, 'expose', '{name}', '{directory}'],
        unexpose: [ARRAY, store, 'unexpose', '{directory}'],
        exists: [ARRAY, store, 'exists', '{name}'],
        remove: [ARRAY, store, 'remove', '{name}'],
      },
    },
    provider: 'command',
    freezes: true,
    findLeft,
    snapshotProgram: 'slow-array',
    pauseFile: path.join(storage.mountpoint, 'pause'),
  };
}

async function btrfsWorld(parts: WorldParts, name = 'btrfs-snapshot'): Promise<World> {
  const origin = await parts.disks.filesystem({ fstype: 'btrfs', name, sizeMiB: 512 });
  return {
    ...(await commonParts(name, parts, origin)),
    source: { path: origin.mountpoint, snapshot: 'btrfs' },
    provider: 'btrfs',
    freezes: false,
    // Nothing foreign: it is fsbackup that makes the directory, and it is to be killed at that.
    findLeft: await changesBelow(path.join(origin.mountpoint, SNAPSHOTS)),
    snapshotProgram: 'btrfs',
  };
}

/** The same, sent as increments: the snapshot that each backup was made from is kept for the next one. */
async function btrfsSendWorld(parts: WorldParts): Promise<World> {
  const name = 'btrfs-send';
  const world = await btrfsWorld(parts, name);
  const snapshots = path.join(world.mountpoint, SNAPSHOTS);
  const bases = createBaseStore(path.join(environmentOf(world)['FSBACKUP_STATE_DIR'] ?? '', 'bases'));
  const kept = async (): Promise<string[]> =>
    (await bases.list()).flatMap((base) =>
      base.snapshots.map(({ snapshot }) => path.join(snapshots, snapshot.name)),
    );
  return {
    ...world,
    engine: 'btrfs-send',
    findLeft: async () => {
      const [changed, recorded] = [await world.findLeft(), await kept()];
      const lost = recorded.filter((one) => !changed.includes(one)).map((one) => `MISSING: base ${one}`);
      return [...changed.filter((one) => !recorded.includes(one)), ...lost];
    },
  };
}

/** Stacks of every host that are there for one boundary: a campaign draws none of them. */
export const OTHER_WORLDS: Readonly<Record<string, (parts: WorldParts) => Promise<World>>> = {
  'btrfs-send': btrfsSendWorld,
};

/** The stacks that every host has, by name. */
export const HOST_WORLDS: Readonly<Record<string, (parts: WorldParts) => Promise<World>>> = {
  'ext4-reflink-xfs': (parts) => reflinkWorld('ext4', 'xfs', parts),
  'xfs-reflink-xfs': (parts) => reflinkWorld('xfs', 'xfs', parts),
  'ext4-reflink-btrfs': (parts) => reflinkWorld('ext4', 'btrfs', parts),
  'ext4-command': (parts) => commandWorld('ext4', parts),
  'xfs-command': (parts) => commandWorld('xfs', parts),
  'btrfs-snapshot': (parts) => btrfsWorld(parts),
};
