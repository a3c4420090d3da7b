import * as z from 'zod';
import type { BlockStack } from './block-stack.js';
import { stackOf } from './filesystem-stack.js';
import { filesystemUuid } from './filesystem-uuid.js';
import { mountOfPath, readMounts, type Mount } from './mountinfo.js';
import { runCommand } from './run-command.js';

export const filesystemIdentitySchema = z.object({
  /**
   * `uuid`: of the superblock on the device. `fsid`: of statfs(2), where there is no device (ZFS, tmpfs). `source`: what
   * is mounted, where neither says anything (NFS, FUSE). `repository`: the id that an engine gave its repository.
   */
  kind: z.enum(['uuid', 'fsid', 'source', 'repository']),
  value: z.string().min(1),
  fstype: z.string(),
});

/** What tells one filesystem from another over reboots. */
export type FilesystemIdentity = z.infer<typeof filesystemIdentitySchema>;

/** Reads one word from a program; undefined when it fails or says nothing. */
async function ask(...argv: [string, ...string[]]): Promise<string | undefined> {
  const result = await runCommand(argv, { timeoutMs: 30_000 });
  const answer = result.stdout.trim();
  return result.exitCode === 0 && answer !== '' ? answer : undefined;
}

/** Identifies the filesystem that `directory` lies on. */
export async function identifyFilesystem(
  directory: string,
  { mount, stack }: { mount: Pick<Mount, 'fstype' | 'source'>; stack: BlockStack | undefined },
): Promise<FilesystemIdentity> {
  const { fstype, source } = mount;
  const uuid = await filesystemUuid(stack);
  if (uuid !== undefined) return { kind: 'uuid', value: uuid, fstype };
  const fsid = await ask('stat', '--file-system', '--format=%i', '--', directory);
  if (fsid !== undefined && /[^0]/.test(fsid)) return { kind: 'fsid', value: fsid, fstype };
  return { kind: 'source', value: source, fstype };
}

/** The mount that shows a path (absolute, free of symlinks), and what its filesystem is; undefined where no mount shows it. */
export async function identifyAt(
  resolved: string,
): Promise<{ mount: Mount; identity: FilesystemIdentity } | undefined> {
  const mount = mountOfPath(await readMounts(), resolved);
  if (mount === undefined) return undefined;
  return { mount, identity: await identifyFilesystem(resolved, { mount, stack: await stackOf(mount) }) };
}
