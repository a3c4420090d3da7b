import type { CopySource } from '../copy/engine.js';
import { FsbackupError } from '../errors.js';

type ReadTree = Pick<CopySource, 'path' | 'readFrom'>;

function called({ path, readFrom }: ReadTree): string {
  return readFrom === path ? path : `${path}, read at ${readFrom},`;
}

/**
 * The mounts that trees are read through, noted while each is sure to be the right one. A directory whose mount is taken
 * away is empty, and to a copy program that is no error: the backup would be empty, and called good.
 */
export class TreeMounts {
  readonly #shownMount: (directory: string) => Promise<string | undefined>;
  readonly #noted: { tree: ReadTree; mount: string }[] = [];

  /** `shownMount` names the mount that shows a directory, see `src/system/shown-mount.ts`. */
  constructor(shownMount: (directory: string) => Promise<string | undefined>) {
    this.#shownMount = shownMount;
  }

  /** Rejects with `snapshotFailed` where there is no such tree. */
  async note(trees: readonly ReadTree[]): Promise<void> {
    for (const tree of trees) {
      const mount = await this.#shownMount(tree.readFrom);
      if (mount === undefined) {
        throw new FsbackupError('snapshotFailed', `${called(tree)} is not there to be read`, {
          hint: 'See what unmounts or deletes it, then run the job again.',
        });
      }
      this.#noted.push({ tree, mount });
    }
  }

  /** Rejects with `snapshotInvalid` when one of them shows something else by now, or nothing. */
  async check(): Promise<void> {
    for (const { tree, mount } of this.#noted) {
      if ((await this.#shownMount(tree.readFrom)) === mount) continue;
      throw new FsbackupError(
        'snapshotInvalid',
        `${called(tree)} was unmounted, deleted or mounted over during the run`,
        { hint: 'See what does so, then run the job again.' },
      );
    }
  }
}
