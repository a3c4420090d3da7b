import { readFile } from 'node:fs/promises';
import { errnoOf } from '../errors.js';
import { unescapePath } from './mountinfo.js';

/** A filesystem that fstab(5) has a mountpoint for. */
export interface FstabEntry {
  /** As written: it may lead through symlinks. */
  mountpoint: string;
  fstype: string;
  options: string[];
}

/** The entries of fstab(5) that name a mountpoint, `noauto` ones included. An absent file has none. */
export async function readFstab(file = '/etc/fstab'): Promise<FstabEntry[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(/\s+/))
    .map(([, mountpoint = '', fstype = '', options = '']) => ({
      mountpoint: unescapePath(mountpoint),
      fstype,
      options: options.split(','),
    }))
    .filter(({ mountpoint }) => mountpoint.startsWith('/'));
}
