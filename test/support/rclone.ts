import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { CACHE_DIRECTORY } from '../../lab/cache.js';
import { runCommand } from '../../src/system/run-command.js';

/** The first with `serve s3`. */
const MINIMUM = [1, 65] as const;
/** Where `scripts/newer-rclone.ts` puts one when the machine's own is older. */
export const NEWER_RCLONE = path.join(CACHE_DIRECTORY, 'rclone', 'usr', 'bin', 'rclone');

function servesS3(version: string): boolean {
  const [, major = '0', minor = '0'] = /^rclone v(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > MINIMUM[0] || (Number(major) === MINIMUM[0] && Number(minor) >= MINIMUM[1]);
}

/** Whether a program is an rclone that can serve S3. */
export async function canServeS3(program: string): Promise<boolean> {
  return servesS3((await runCommand([program, 'version'])).stdout);
}

/** The rclone of the machine that can serve S3, or the one that `scripts/setup` brought. */
export async function rcloneWithS3(): Promise<string> {
  for (const program of ['rclone', NEWER_RCLONE]) if (await canServeS3(program)) return program;
  throw new Error(`no rclone ${MINIMUM.join('.')} or later is here: run scripts/setup`);
}

/** As `rcloneWithS3`, for who cannot wait. */
export function hasRcloneWithS3(): boolean {
  return ['rclone', NEWER_RCLONE].some((program) => {
    const { stdout } = spawnSync(program, ['version'], { encoding: 'utf8' });
    return servesS3(stdout ?? '');
  });
}
