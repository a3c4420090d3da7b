import { unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.js';
import { setAttribute } from '../../system/native.js';
import { ACCESS_ACL } from './posix-acl.js';

/** What a filesystem keeps of a file beside its mode. */
export interface AttributeSupport {
  acls: boolean;
  /** Attributes of root's and of users', and capabilities: of as much as fits. */
  names: boolean;
  /** The largest that Linux knows: nothing can be too large, or too much, then. */
  large: boolean;
}

/** `user::rw-,user:0:r--,group::---,mask::r--,other::---`, see `posix-acl.ts`. */
const ACL = Buffer.from(
  '02000000' +
    '01000600ffffffff' +
    '0200040000000000' +
    '04000000ffffffff' +
    '10000400ffffffff' +
    '20000000ffffffff',
  'hex',
);
/** Of capabilities(7), VFS_CAP_REVISION_2: none. */
const CAPABILITY = Buffer.from(`00000002${'00'.repeat(16)}`, 'hex');
/** XATTR_SIZE_MAX */
const LARGEST = 65_536;

/** Whether an attribute could be set. Its name: one character for each byte. */
export async function takes(file: Buffer, name: string, value: Buffer): Promise<boolean> {
  try {
    await setAttribute(file, Buffer.from(name, 'latin1'), value);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Tries it in a private directory, in which nothing stays. */
export async function probeAttributes(directory: string): Promise<AttributeSupport> {
  const file = Buffer.from(path.join(directory, 'probe'));
  await writeFile(file, '', { flag: 'wx', mode: 0o600 });
  try {
    const acls = await takes(file, ACCESS_ACL, ACL);
    const names =
      (await takes(file, 'trusted.fsbackup', Buffer.from('x'))) &&
      (await takes(file, 'security.capability', CAPABILITY)) &&
      (await takes(file, 'user.fsbackup', Buffer.from('x')));
    return { acls, names, large: await takes(file, 'user.fsbackup', Buffer.alloc(LARGEST, 'x')) };
  } finally {
    await unlink(file);
  }
}
