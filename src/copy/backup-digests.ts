import { errnoOf } from '../errors.js';
import { digestFile } from './backup-layout.js';
import type { CompleteBackup } from './backup-list.js';
import { sha256Of } from './digest-list.js';
import type { DigestList } from './engine.js';

/** The list of a backup's digests, once it is proven to be the one of its manifest, or what is wrong with it. */
export async function digestsOf({
  manifest,
  ...ref
}: CompleteBackup): Promise<DigestList | { problem: string } | undefined> {
  const { digests } = manifest;
  if (digests === undefined) return undefined;
  const file = digestFile(ref);
  try {
    if ((await sha256Of(file)) === digests.sha256) return { file, algorithm: digests.algorithm };
    return { problem: 'digests.gz is not the one that the manifest was written with' };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return { problem: `digests.gz cannot be read: ${errno}` };
  }
}
