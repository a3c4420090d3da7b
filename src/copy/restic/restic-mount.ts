import type { FuseProgram } from '../repository/fuse-mount.js';
import type { ResticRepository } from './restic-repository.js';
import { OUR_TAG } from './restic-tags.js';

/**
 * `restic mount` of one snapshot. Takes no lock: one that is killed would leave it. Without its cache, since it cannot be
 * begun anew where that cannot be written (`restic-cache.ts`): somebody looks at what it shows. `cache` are arguments in place of
 * that.
 */
export function resticFuse(
  repository: ResticRepository,
  snapshot: string,
  cache: readonly string[] = ['--no-cache'],
): FuseProgram {
  return {
    name: 'restic',
    serve: (stage, options) =>
      repository.run(
        ['mount', ...cache, '--no-lock', '--path-template=%I', `--tag=${OUR_TAG}`, '--', stage],
        options,
      ),
    inside: snapshot,
    lacks: ({ stderr }) =>
      /fusermount.*not found/.test(stderr) ? 'Install fusermount: apt install fuse3.' : undefined,
  };
}
