import { mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../src/errors.js';
import { must, type ThrowawayDisks } from './throwaway-filesystem.js';

/** Of what can be written: the rest of the tmpfs that holds it is full. */
const BAD = { offset: '40M', length: '60M' } as const;

/** Else what could not be written is mapped in pieces, in blocks between those of the content: the filesystem becomes read-only. */
const OPTIONS = 'dioread_lock';

/** An ext4 whose disk cannot write some of its blocks, and says so only when they are written back. */
export interface BadDisk {
  mountpoint: string;
  /** Unmounted and mounted again: nothing of it is in memory any more. */
  remount: () => Promise<void>;
  /** All of it can be written from now on. */
  mend: () => Promise<void>;
  /** It is bad again, and what was in those blocks is gone. */
  spoil: () => Promise<void>;
  /** It takes the memory of all its blocks. */
  remove: () => Promise<void>;
}

async function fill(file: string): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    for (;;) await handle.write(Buffer.alloc(1024 * 1024));
  } catch (error) {
    if (errnoOf(error) !== 'ENOSPC') throw error;
  } finally {
    await handle.close();
  }
}

/** The disk is a file with holes on a tmpfs that is full, as one is that has bad sectors, or a thin pool without room. */
export async function badDisk(disks: ThrowawayDisks, name: string): Promise<BadDisk> {
  const thin = path.join(disks.directory, `${name}.thin`);
  const mountpoint = path.join(disks.directory, `${name}.mnt`);
  const disk = path.join(thin, 'disk');
  const filler = path.join(thin, 'filler');
  for (const directory of [thin, mountpoint]) await mkdir(directory, { mode: 0o700 });
  await must('mount', '-t', 'tmpfs', '-o', 'size=150M', 'none', thin);
  await must('dd', 'if=/dev/zero', `of=${disk}`, 'bs=1M', 'count=110', 'status=none');
  const device = await must('losetup', '--find', '--show', disk);
  const made = ['packed_meta_blocks=1', 'lazy_itable_init=0', 'lazy_journal_init=0', 'nodiscard'];
  // In one group of blocks: what is not content lies at its beginning.
  await must('mkfs.ext4', '-q', '-b', '4096', '-E', made.join(','), '-N', '2000', device);
  // What mkfs made holes of is there again once it was written to itself.
  await must('dd', `if=${disk}`, `of=${disk}`, 'bs=1M', 'conv=notrunc', 'status=none');
  const spoil = async (): Promise<void> => {
    await must('fallocate', '--punch-hole', '--offset', BAD.offset, '--length', BAD.length, disk);
    await fill(filler);
  };
  await spoil();
  await must('mount', '-o', OPTIONS, device, mountpoint);
  return {
    mountpoint,
    remount: async () => {
      await must('umount', mountpoint);
      await must('mount', '-o', OPTIONS, device, mountpoint);
    },
    mend: () => rm(filler),
    spoil,
    remove: async () => {
      await must('umount', mountpoint);
      await must('losetup', '--detach', device);
      await must('umount', thin);
    },
  };
}
