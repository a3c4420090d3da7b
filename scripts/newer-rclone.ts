import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { LabApt } from '../lab/apt.js';
import { CACHE_DIRECTORY } from '../lab/cache.js';
import { withLock } from '../lab/lock.js';
import { must } from '../lab/process.js';
import { canServeS3, NEWER_RCLONE } from '../test/support/rclone.js';

// Brings an rclone that can serve S3 for the tests, where the machine's own cannot: Debian's own package of a later
// release, by the machine's apt configuration, unpacked into the cache and never installed. Idempotent.

const PACKAGE = 'rclone';

async function fetchFrom(release: string, directory: string): Promise<boolean> {
  const apt = await LabApt.open(release, ['']);
  const found = await apt.candidates([PACKAGE]);
  if (found.length === 0) return false;
  const work = await mkdtemp(path.join(directory, 'rclone-new-'));
  try {
    await apt.download(found, work);
    const file = (await readdir(work)).find((name) => name.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt fetched no package ${PACKAGE}`);
    const unpacked = path.join(work, 'unpacked');
    await must(['dpkg', '--extract', path.join(work, file), unpacked]);
    if (!(await canServeS3(path.join(unpacked, 'usr', 'bin', 'rclone')))) return false;
    const place = path.join(directory, 'rclone');
    await rm(place, { recursive: true, force: true });
    await rename(unpacked, place);
    return true;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function bring(): Promise<void> {
  if ((await canServeS3('rclone')) || (await canServeS3(NEWER_RCLONE))) return;
  await mkdir(CACHE_DIRECTORY, { recursive: true });
  await withLock(path.join(CACHE_DIRECTORY, 'rclone.lock'), async () => {
    if (await canServeS3(NEWER_RCLONE)) return;
    // Testing lacks it at times, for the sake of others that it depends on.
    for (const release of ['testing', 'sid']) if (await fetchFrom(release, CACHE_DIRECTORY)) return;
    throw new Error('no release of Debian has an rclone that can serve S3');
  });
}

await bring();
