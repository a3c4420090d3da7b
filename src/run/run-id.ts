import { randomBytes } from 'node:crypto';

/** Names one run: sorts by time, is unique, and fits into the name of a file or a volume: `20261123T184500Z-1a2b3c`. */
export function makeRunId(now: Date, random: Buffer = randomBytes(3)): string {
  const time = `${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
  return `${time}-${random.toString('hex')}`;
}
