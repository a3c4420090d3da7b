import { mkdtemp } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { requireTrustedPath } from './trusted-path.js';

/**
 * Makes a private directory for what a program is to read, in TMPDIR or else /tmp. The caller removes it. Rejects with
 * `usage` where TMPDIR is somebody else's, who could put another in its place.
 */
export async function makeScratch(prefix: string, parent = os.tmpdir()): Promise<string> {
  const directory = await mkdtemp(path.join(parent, prefix));
  await requireTrustedPath(directory, {
    what: 'the temporary directory',
    why: 'Whoever may change it decides what root reads from it. Let TMPDIR name another.',
  });
  return directory;
}
