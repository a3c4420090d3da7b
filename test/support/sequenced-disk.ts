import { readdirSync, readFileSync } from 'node:fs';

/** The number of a device that tells which disk it has (Linux 5.15, `diskseq`); undefined where none does. */
export function findSequencedDisk(): string | undefined {
  return readdirSync('/sys/dev/block').find((majorMinor) => {
    try {
      return readFileSync(`/sys/dev/block/${majorMinor}/diskseq`, 'utf8') !== '';
    } catch {
      return false;
    }
  });
}
