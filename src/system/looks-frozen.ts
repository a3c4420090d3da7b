import { closeSync, constants, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { xfsReservedBlocks } from './native.js';

/** The superblock of ext2, 3 and 4, and what of it is read here; all little-endian. */
const EXT_SUPERBLOCK = { at: 1024, bytes: 1024, magicAt: 56, magic: 0xef53, compatAt: 92, incompatAt: 96 };
const COMPAT_HAS_JOURNAL = 0x4;
const INCOMPAT_RECOVER = 0x4;

/** Of a mounted one. Whoever freezes it empties its journal and says so on the disk, which the thaw takes back. */
async function looksExtFrozen(device: string): Promise<boolean | undefined> {
  const handle = await open(device, 'r');
  try {
    const { at, bytes, magicAt, magic, compatAt, incompatAt } = EXT_SUPERBLOCK;
    // Through the page cache of the device, where the filesystem's own superblock is.
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(bytes), 0, bytes, at);
    if (bytesRead < bytes || buffer.readUInt16LE(magicAt) !== magic) return undefined;
    if ((buffer.readUInt32LE(compatAt) & COMPAT_HAS_JOURNAL) === 0) return undefined;
    return (buffer.readUInt32LE(incompatAt) & INCOMPAT_RECOVER) === 0;
  } finally {
    await handle.close();
  }
}

/** XFS gives back the blocks that it holds in reserve for as long as it is frozen. */
function looksXfsFrozen(mountpoint: string): boolean {
  const fd = openSync(mountpoint, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return xfsReservedBlocks(fd) === 0;
  } finally {
    closeSync(fd);
  }
}

/**
 * Whether a mounted filesystem looks as if somebody held it frozen, found out without stopping a writer. False: it was not
 * frozen at that instant. True: it is, or it is read-only, or its reserve was taken away; only FIFREEZE tells. Undefined:
 * another filesystem, one without a journal, or one that cannot be looked at. Measured on Linux 6.12.
 */
export async function looksFrozen(filesystem: {
  fstype: string;
  device: string;
  mountpoint: string;
}): Promise<boolean | undefined> {
  const { fstype, device, mountpoint } = filesystem;
  try {
    if (/^ext[34]$/.test(fstype)) return await looksExtFrozen(device);
    return fstype === 'xfs' ? looksXfsFrozen(mountpoint) : undefined;
  } catch {
    return undefined;
  }
}
