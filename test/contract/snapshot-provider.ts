import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type {
  Exposure,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from '../../src/snapshots/provider.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readLogicalVolumes } from '../../src/system/lvm.js';
import { isMountedAt, mountAt } from '../../src/system/mount.js';
import { describeNeeding } from '../support/capabilities.js';
import { openFilesBelow, type SnapshotWorld, type WorldKind } from '../support/snapshot-worlds.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const ALONE = { nestedFreeze: 'unknown', grouped: false } as const;
const EVERYTHING = { readVolumes: readLogicalVolumes, readZfs: true } as const;
const NEVER = new AbortController().signal;

/** What went through a journal. */
function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** Runs `work` with the origins frozen when the mode asks for it; thawed whatever happens. */
async function whileHeld<T>(world: SnapshotWorld, work: () => Promise<T>): Promise<T> {
  // As a run does: a snapshot without a freeze holds what is on the disk.
  for (const mountpoint of world.mountpoints) await must('sync', '--file-system', mountpoint);
  if (world.freezeMode !== 'explicit') return await work();
  const frozen: string[] = [];
  try {
    for (const mountpoint of world.mountpoints) {
      await must('fsfreeze', '--freeze', mountpoint);
      frozen.push(mountpoint);
    }
    return await work();
  } finally {
    for (const mountpoint of frozen.toReversed()) await must('fsfreeze', '--unfreeze', mountpoint);
  }
}

/** The contract of `SnapshotProvider`, over one kind of real storage. */
export function snapshotProviderContract(kind: WorldKind): void {
  describeNeeding(kind.needs, `the provider ${kind.title}`, () => {
    const disks = throwawayDisks(afterAll);
    let world: SnapshotWorld;
    let provider: SnapshotProvider;
    let count = 0;

    beforeAll(async () => {
      world = await kind.make(disks);
    });

    /** Requests for both origins, each with a file whose content the snapshot must bring back. */
    async function requests(content: string): Promise<SnapshotRequest[]> {
      count += 1;
      return await Promise.all(
        world.mountpoints.map(async (mountpoint, index) => {
          await writeFile(path.join(mountpoint, 'file'), `${content} ${index}`);
          const { filesystem } = await readFilesystemFacts(mountpoint, EVERYTHING);
          return { filesystem, name: `fsbackup-test-${count}-${index}`, freezeMode: world.freezeMode };
        }),
      );
    }

    async function prepared(content: string): Promise<SnapshotRef[]> {
      const wanted = await requests(content);
      provider = world.newProvider();
      return asJson(await provider.prepare(wanted));
    }

    async function taken(content: string): Promise<SnapshotRef[]> {
      const refs = await prepared(content);
      await provider.makeReady?.(refs, { signal: NEVER });
      await whileHeld(world, () => provider.create(refs, { signal: NEVER }));
      return refs;
    }

    async function expose(ref: SnapshotRef, from = provider): Promise<Exposure> {
      const directory = path.join(disks.directory, `exposed-${ref.name}`);
      await mkdir(directory, { mode: 0o700 });
      return asJson(await from.expose(ref, directory));
    }

    /** Nothing in it can act, and nothing of its filesystem's log was replayed or passed over that need not be. */
    async function expectSealed({ fstype, takenFrozen }: SnapshotRef, exposure: Exposure): Promise<void> {
      const { options = [], superOptions = [] } = (await mountAt(exposure.path)) ?? {};
      expect(options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']));
      const ofXfs = fstype === 'xfs' ? ['nouuid', ...(takenFrozen ? ['norecovery'] : [])] : [];
      // A subvolume of btrfs is no filesystem of its own.
      const wanted = fstype === 'btrfs' ? [] : ['ro', ...ofXfs];
      expect(superOptions).toEqual(expect.arrayContaining(wanted));
      expect(takenFrozen && superOptions.includes('noload')).toBe(false);
    }

    afterEach(async () => {
      expect(await world.stored()).toEqual([]);
      expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
      expect(await openFilesBelow(disks.directory)).toEqual([]);
    });

    it('suits its storage, in a mode that the plan can take', async () => {
      const { filesystem } = await readFilesystemFacts(world.mountpoints[0], EVERYTHING);
      const detection = world.newProvider().detect(filesystem, world.context ?? ALONE);
      expect(detection).toMatchObject({
        suits: true,
        freezeModes: expect.arrayContaining([world.freezeMode]),
      });
    });

    it('holds nothing of what was prepared once that is given up', async () => {
      const refs = await prepared('given up');
      for (const ref of [...refs, ...refs]) await provider.abandon?.(ref);
      expect(await openFilesBelow(disks.directory)).toEqual([]);
    });

    it('keeps a snapshot that was made when what was prepared is given up', async () => {
      const refs = await taken('made');
      for (const ref of refs) {
        await provider.abandon?.(ref);
        expect(await provider.exists(ref)).toBe(true);
        await provider.remove(ref);
      }
    });

    it('shows what was there at the snapshot, read-only, and leaves nothing', async () => {
      const refs = await taken('before');
      for (const [index, ref] of refs.entries()) {
        expect(ref).toMatchObject({ provider: kind.provider, mountpoint: world.mountpoints[index] });
        await writeFile(path.join(ref.mountpoint, 'file'), 'after');
        await writeFile(path.join(ref.mountpoint, 'new'), 'after');
        expect(await provider.exists(ref)).toBe(true);
        await expect(provider.checkIntact(ref)).resolves.toBeUndefined();

        const exposure = await expose(ref);
        await expectSealed(ref, exposure);
        expect(await readFile(path.join(exposure.path, 'file'), 'utf8')).toBe(`before ${index}`);
        expect(await readdir(exposure.path)).not.toContain('new');
        await expect(writeFile(path.join(exposure.path, 'file'), 'x')).rejects.toMatchObject({
          code: 'EROFS',
        });
        expect(await readFile(path.join(ref.mountpoint, 'file'), 'utf8')).toBe('after');

        await provider.unexpose(exposure);
        expect(await readdir(exposure.path)).toEqual([]);
        await must('rm', path.join(ref.mountpoint, 'new'));
      }
      for (const ref of refs) {
        await provider.remove(ref);
        expect(await provider.exists(ref)).toBe(false);
      }
    });

    it('exposes, unexposes and removes again without an error', async () => {
      const refs = await taken('again');
      for (const ref of refs) {
        const exposure = await expose(ref);
        expect(asJson(await provider.expose(ref, exposure.path))).toEqual(exposure);
        await provider.unexpose(exposure);
        await provider.unexpose(exposure);
        await provider.remove(ref);
        await provider.remove(ref);
      }
    });

    it('lets a later process release what a dead one exposed', async () => {
      const refs = await taken('dead');
      for (const ref of refs) {
        const exposure = await expose(ref);
        const later = world.newProvider();
        expect(await later.exists(ref)).toBe(true);
        expect(await isMountedAt(exposure.path)).toBe(true);
        await later.unexpose(exposure);
        await later.remove(ref);
        expect(await later.exists(ref)).toBe(false);
      }
    });

    it('lets a later process remove what was created and not exposed', async () => {
      const refs = await taken('unexposed');
      for (const ref of refs) await world.newProvider().remove(ref);
      expect(await world.stored()).toEqual([]);
      for (const ref of refs) await provider.remove(ref);
    });

    it('makes nothing that outlives it before create', async () => {
      const refs = await prepared('prepared');
      expect(await world.stored()).toEqual([]);
      for (const ref of refs) {
        expect(await provider.exists(ref)).toBe(false);
        expect(await world.newProvider().exists(ref)).toBe(false);
        await provider.remove(ref);
        await world.newProvider().remove(ref);
      }
    });

    it('does not create for a signal that is aborted, and removes what there may be', async () => {
      const refs = await prepared('aborted');
      const aborted = AbortSignal.abort('thawed by a third party');
      await expect(provider.create(refs, { signal: aborted })).rejects.toMatchObject({
        code: 'snapshotFailed',
      });
      for (const ref of refs) await provider.remove(ref);
    });

    it('does not expose a snapshot that is not there', async () => {
      const refs = await prepared('absent');
      for (const ref of refs) {
        await expect(expose(ref)).rejects.toMatchObject({ code: 'snapshotFailed' });
        await provider.remove(ref);
      }
    });

    it('does not cover what is mounted by others', async () => {
      const refs = await taken('covered');
      for (const ref of refs) {
        const directory = path.join(disks.directory, `foreign-${ref.name}`);
        await mkdir(directory);
        await must('mount', '-t', 'tmpfs', 'none', directory);
        await expect(provider.expose(ref, directory)).rejects.toMatchObject({ code: 'snapshotFailed' });
        await must('umount', directory);
        await provider.remove(ref);
      }
    });
  });
}
