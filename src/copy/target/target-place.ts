import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { localRepository, type BackupTarget } from '../../backup-target.js';
import { identifyAt } from '../../system/filesystem-identity.js';

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
    const found = await identifyAt(resolved);
    if (found === undefined || found.identity.kind === 'source') return undefined;
    const { mount, identity } = found;
    const { kind, value } = identity;
    return `${kind}:${value}:${path.join(mount.root, path.relative(mount.mountpoint, resolved))}`;
  } catch {
    return undefined;
  }
}
