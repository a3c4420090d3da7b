import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { mountOfDescriptor } from './descriptor-mount.js';
import { mountOfPath, readMounts, unescapePath, type Mount } from './mountinfo.js';

const UPPER = 'upperdir=';

async function mountOfDirectory(directory: string): Promise<Mount | undefined> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    return await mountOfDescriptor(handle.fd);
  } finally {
    await handle.close();
  }
}

/**
 * The mount that the upper directory of an overlay lies on: what is written to the overlay goes there, and never to the
 * lower ones. Undefined for an overlay without one, and where its name, which is as it was when the overlay was mounted,
 * leads nowhere: in a container it is a name of the host's.
 */
export async function upperMountOf(overlay: Mount): Promise<Mount | undefined> {
  const option = overlay.superOptions.find((one) => one.startsWith(UPPER));
  const upper = option === undefined ? '' : unescapePath(option.slice(UPPER.length));
  // A relative name was meant from where nobody knows.
  if (!path.isAbsolute(upper)) return undefined;
  const isOverlay = (mount: Mount): boolean => mount.majorMinor === overlay.majorMinor;
  const found = await mountOfDirectory(upper);
  if (found !== undefined && !isOverlay(found)) return found;
  // It may be mounted over the directory that holds its upper one, and hide that.
  const mounts = await readMounts();
  const named = mountOfPath(mounts, path.normalize(upper));
  if (named === undefined || !isOverlay(named)) return undefined;
  return mountOfPath(
    mounts.filter((mount) => !isOverlay(mount)),
    path.normalize(upper),
  );
}
