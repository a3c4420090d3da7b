import { readFile } from 'node:fs/promises';

/**
 * The bytes that an ext4 keeps for itself when it is nearly full, so that delayed allocation never runs dry: not even
 * root gets them, though statfs(2) counts them as free (fs/ext4/super.c, `s_resv_clusters`; Documentation/ABI names the
 * file in sysfs). `device` is the kernel's name (`loop0`, `dm-1`). 0 for any other filesystem.
 */
export async function readExt4ReserveBytes(device: string, blockSizeBytes: number): Promise<number> {
  try {
    const clusters = Number(await readFile(`/sys/fs/ext4/${device}/reserved_clusters`, 'utf8'));
    // A cluster is a block, or with the rare `bigalloc` several: then the reserve is told too small.
    return Number.isFinite(clusters) ? clusters * blockSizeBytes : 0;
  } catch {
    return 0;
  }
}
