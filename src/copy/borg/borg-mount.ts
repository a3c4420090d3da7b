import type { BorgRepository } from './borg-repository.js';
import type { FuseProgram } from '../repository/fuse-mount.js';

/** `borg mount` of one archive. */
export function borgFuse(repository: BorgRepository, archive: string): FuseProgram {
  return {
    name: 'borg',
    serve: (stage, options) =>
      repository.run(
        repository.argv('mount', '--foreground', '--numeric-ids', `::${archive}`, stage),
        options,
      ),
    inside: '.',
    lacks: ({ stderr }) =>
      /mount not available/.test(stderr)
        ? "Install Python's FUSE: apt install python3-llfuse fuse3."
        : undefined,
  };
}
