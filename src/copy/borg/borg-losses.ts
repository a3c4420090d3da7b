import path from 'node:path';
import { parseWarning, type BorgMessage } from './borg-output.js';
import { toLivePath } from './borg-reference.js';
import { WARNINGS } from './borg-repository.js';
import { UnreadablePaths } from '../copy-error.js';
import type { CopySource } from '../engine.js';
import { printable } from '../printable.js';

/** What it says beside the status `C`: the file is in the archive. */
const CHANGED = /: file changed while we backed it up$/;

/** Gathers from what `borg create` says which files its archive lacks. */
export class BorgLosses {
  readonly #unreadable = new UnreadablePaths();
  /** The last warning named its path, with all its bytes. */
  #isNamed = false;
  #explained = 0;
  #unexplained: string | undefined;

  /** For each line of it. A warning comes before the status of its file, in which bytes that are not UTF-8 are lost. */
  heard(said: BorgMessage): void {
    if (said.type === 'file_status') {
      if (said.status === 'E') {
        if (!this.#isNamed) this.#add(said.path);
        this.#unexplained = undefined;
      }
      this.#isNamed = false;
    } else if (said.type === 'log_message' && said.levelname === 'WARNING') {
      const lost = parseWarning(said);
      this.#isNamed = lost !== undefined;
      if (lost !== undefined) this.#add(lost);
      else if (CHANGED.test(said.message)) this.#explained += 1;
      else this.#unexplained ??= said.message;
    }
  }

  #add(told: string): void {
    this.#explained += 1;
    this.#unreadable.add(toLivePath(told));
  }

  /**
   * As paths on the live system. When borg ends with warnings and none of them says what they were about, the backup
   * may lack anything of its sources: they are named, with borg's own words.
   */
  pathsOf(exitCode: number, sources: readonly CopySource[]): string[] {
    if (exitCode === WARNINGS && this.#explained === 0) {
      const said = this.#unexplained ?? 'borg does not say which';
      const why = printable(Buffer.from(said, 'utf8').toString('latin1'));
      for (const source of sources) this.#unreadable.add(path.join(source.path, `(some files: ${why})`));
    }
    return this.#unreadable.paths;
  }
}
