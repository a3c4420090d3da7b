import type { BlockStack } from './block-stack.js';
import { FsbackupError } from '../errors.js';
import { describeFailure, runCommand } from './run-command.js';

/** Of blkid: nothing was found. */
const NOT_FOUND = 2;

/**
 * A device of this host that has the filesystem with that UUID, mounted or not; undefined where none has. Rejects with
 * `cleanupIncomplete` where that cannot be told.
 */
export async function deviceWithUuid(uuid: string): Promise<string | undefined> {
  // Not --uuid, which believes its cache, whatever file that is told to be.
  const result = await runCommand(
    ['blkid', '--cache-file', '/dev/null', '--match-token', `UUID=${uuid}`, '--output', 'device'],
    { timeoutMs: 120_000 },
  );
  if (result.exitCode === 0) return result.stdout.trim().replaceAll('\n', ', ');
  if (result.exitCode === NOT_FOUND) return undefined;
  throw new FsbackupError(
    'cleanupIncomplete',
    `which device has the filesystem ${uuid} cannot be told: ${describeFailure('blkid', result)}`,
    { hint: 'See what this says: blkid' },
  );
}

/** The UUID in the superblock of the filesystem on these devices; undefined where there is neither. */
export async function filesystemUuid(stack: BlockStack | undefined): Promise<string | undefined> {
  if (stack === undefined) return undefined;
  const device = `/dev/${stack[0].name.replaceAll('!', '/')}`;
  // --probe: from the device itself, since blkid's cache may be that of another disk under the same name.
  const result = await runCommand(['blkid', '--probe', '--match-tag', 'UUID', '--output', 'value', device], {
    timeoutMs: 30_000,
  });
  const uuid = result.stdout.trim();
  return result.exitCode === 0 && uuid !== '' ? uuid : undefined;
}
