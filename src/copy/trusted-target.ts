import { requireTrustedPath } from '../system/trusted-path.js';

const OTHERWISE =
  'where that cannot be said (a share of the network, a disk without owners), mount it below a directory that root alone may enter (chmod 700)';

/**
 * Rejects with `usage` when somebody else than root could make a target lead elsewhere: root makes directories in it,
 * renames and removes them, and whoever may put a symlink in their place has root do that wherever they like.
 */
export async function requireTrustedTarget(target: string): Promise<void> {
  await requireTrustedPath(target, {
    what: 'the target',
    why: 'Whoever may change it can have root write and remove elsewhere.',
    otherwise: OTHERWISE,
  });
}
