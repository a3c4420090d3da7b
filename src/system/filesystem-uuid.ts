import type { BlockStack } from './block-stack.js';
import { runCommand } from './run-command.js';

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
