import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { localRepository, type BackupTarget } from '../backup-target.js';
import { identifyFilesystem } from '../system/filesystem-identity.js';
import { stackOf } from '../system/filesystem-stack.js';
import { mountOfPath, readMounts } from '../system/mountinfo.js';

/**
 * What a target is by any name, over reboots and wherever its disk is mounted: its filesystem, and the directory in that.
 * Undefined for what is elsewhere, or not there, or on a filesystem that nothing identifies (NFS, FUSE): it is known by its
 * name alone. Never rejects.
 */
export async function placeOfTarget(target: BackupTarget): Promise<string | undefined> {
  const local = target.repository === undefined ? target.path : localRepository(target);
  if (local === undefined) return undefined;
  try {
    const resolved = await realpath(local);
    const mount = mountOfPath(await readMounts(), resolved);
    if (mount === undefined) return undefined;
    const { kind, value } = await identifyFilesystem(resolved, { mount, stack: await stackOf(mount) });
    if (kind === 'source') return undefined;
    return `${kind}:${value}:${path.join(mount.root, path.relative(mount.mountpoint, resolved))}`;
  } catch {
    return undefined;
  }
}
