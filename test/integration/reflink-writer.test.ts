import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { providerByName } from '../../src/snapshots/registry.js';
import { describeNeeding } from '../support/capabilities.js';
import { startLogWriter } from '../support/log-writer.js';
import { checkRecords } from '../support/records.js';
import { exposeIn, takeSnapshot } from '../support/take-snapshot.js';
import { must, throwawayDisks, type ThrowawayDisks } from '../support/throwaway-filesystem.js';

const NEEDS_RECOVERY = /^Filesystem features:.*\bneeds_recovery\b/m;

async function checksumOf(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

/** A filesystem in an image on XFS, a writer on it, and a file that is still only in memory. */
async function busyFilesystem(disks: ThrowawayDisks, fstype: 'ext4' | 'xfs') {
  const outer = await disks.filesystem({ fstype: 'xfs', sizeMiB: 1024 });
  const inner = await disks.filesystem({ fstype, on: outer });
  const log = path.join(inner.mountpoint, 'log');
  const writer = startLogWriter(log);
  onTestFinished(() => writer.stop());
  await writer.acknowledged(20);
  const unsynced = path.join(inner.mountpoint, 'unsynced');
  await writeFile(unsynced, randomBytes(16 * 1024 * 1024));
  return { mountpoint: inner.mountpoint, log, writer, unsynced };
}

/**
 * A file that has a descriptor and no name: an orphan of the live filesystem, which ext4 carries into a frozen image and
 * `e2fsck -fn` then calls an error, though the kernel mounts it as it is.
 */
async function makeOrphan(mountpoint: string): Promise<void> {
  const file = path.join(mountpoint, 'orphan');
  const orphan = await open(file, 'wx');
  onTestFinished(() => orphan.close());
  await orphan.writeFile('has no name');
  await unlink(file);
}

describeNeeding(['root', 'loop', 'xfs', 'ext4'], 'a reflink snapshot under a writer', () => {
  it.each(['ext4', 'xfs'] as const)(
    'of %s has every record up to the freeze and none after',
    async (fstype) => {
      const disks = throwawayDisks(onTestFinished);
      const { mountpoint, log, writer, unsynced } = await busyFilesystem(disks, fstype);
      await makeOrphan(mountpoint);
      const provider = providerByName('reflink');

      const { ref, window } = await takeSnapshot(provider, mountpoint, 'fsbackup-writer', 'explicit');
      const sinceThen = writer.acknowledgements.length;
      const exposed = await exposeIn(provider, ref, disks.directory);
      await writer.acknowledged(sinceThen + 50);

      const text = await readFile(path.join(exposed, 'log'), 'utf8');
      expect(checkRecords(text, writer.acknowledgements, window)).toEqual([]);
      expect(text.length).toBeGreaterThan(0);
      expect(await checksumOf(path.join(exposed, 'unsynced'))).toBe(await checksumOf(unsynced));
      // The live log has what the snapshot must not have.
      expect(checkRecords(await readFile(log, 'utf8'), writer.acknowledgements, window)).not.toEqual([]);

      await provider.unexpose({ snapshot: ref, path: exposed });
      await provider.remove(ref);
      expect(await disks.leftovers()).toEqual({ mountpoints: [], loopDevices: [] });
    },
  );

  it('of ext4 needs no recovery and passes e2fsck; one that was not frozen does not', async () => {
    const disks = throwawayDisks(onTestFinished);
    const { mountpoint, writer } = await busyFilesystem(disks, 'ext4');
    const provider = providerByName('reflink');
    for (const round of [1, 2, 3]) {
      await writer.acknowledged(writer.acknowledgements.length + 10);
      const { ref } = await takeSnapshot(provider, mountpoint, `fsbackup-frozen-${round}`, 'explicit');
      const exposed = await exposeIn(provider, ref, disks.directory);
      const clone = ref.data['clone'] ?? '';
      expect(await must('dumpe2fs', '-h', clone)).not.toMatch(NEEDS_RECOVERY);
      // Exits 0 for a filesystem without a flaw alone, as `must` wants it.
      await must('e2fsck', '-fn', clone);
      await provider.unexpose({ snapshot: ref, path: exposed });
      await provider.remove(ref);
    }
    const { ref } = await takeSnapshot(provider, mountpoint, 'fsbackup-live', 'none');
    const exposed = await exposeIn(provider, ref, disks.directory);
    expect(await must('dumpe2fs', '-h', ref.data['clone'] ?? '')).toMatch(NEEDS_RECOVERY);
    await provider.unexpose({ snapshot: ref, path: exposed });
    await provider.remove(ref);
  });
});
