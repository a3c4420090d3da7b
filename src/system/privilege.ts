import { readFileSync } from 'node:fs';
import { FsbackupError } from '../errors.js';

/** capabilities(7): what freezing, mounting and attaching loop devices need. */
const CAP_SYS_ADMIN = 21n;

/** True when a `/proc/PID/status` grants CAP_SYS_ADMIN: root in a container may lack it. */
export function canAdminister(processStatus: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(processStatus)?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

/**
 * Throws `usage` unless this process may take snapshots of what is mounted. Asked before anything else: without the
 * capability the host does not even show what lies under a mount, and every later error would mislead.
 */
export function requirePrivilege(
  needed: readonly { snapshot: string }[],
  processStatus: string = readFileSync('/proc/self/status', 'utf8'),
): void {
  if (needed.every(({ snapshot }) => snapshot === 'none') || canAdminister(processStatus)) return;
  throw new FsbackupError('usage', 'a snapshot of a live filesystem needs root with CAP_SYS_ADMIN', {
    hint: 'Run fsbackup as root, with sudo for example; in a container, grant it CAP_SYS_ADMIN.',
  });
}
