import path from 'node:path';
import { parseAttributeComplaint, parseWarning, type BorgMessage } from './borg-output.js';
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
  /** An attribute of the next file could not be read: it is in the archive without it, and borg ends as if all were well. */
  #lacksAttribute = false;
  #explained = 0;
  /** What was said of whatever comes next, and what nobody knows the meaning of. */
  #pending: string | undefined;
  #unexplained: string | undefined;

  /** For each line of it. A warning comes before the status of its file, in which bytes that are not UTF-8 are lost. */
  heard(said: BorgMessage): void {
    if (said.type === 'file_status') this.#status(said);
    else if (said.type === 'log_message' && said.levelname === 'WARNING') this.#warned(said);
  }

  #status({ status, path: told }: BorgMessage & { type: 'file_status' }): void {
    if (status === 'E' || this.#lacksAttribute) {
      if (!this.#isNamed) this.#add(told);
    } else this.#unexplained ??= this.#pending;
    this.#pending = undefined;
    this.#isNamed = false;
    this.#lacksAttribute = false;
  }

  #warned(said: BorgMessage & { type: 'log_message' }): void {
    if (parseAttributeComplaint(said.message) !== undefined) {
      this.#lacksAttribute = true;
      return;
    }
    const lost = parseWarning(said);
    this.#isNamed = lost !== undefined;
    if (lost !== undefined) this.#add(lost);
    else if (CHANGED.test(said.message)) this.#explained += 1;
    else {
      this.#unexplained ??= this.#pending;
      this.#pending = said.message;
    }
  }

  #add(told: string): void {
    this.#explained += 1;
    this.#unreadable.add(toLivePath(told));
  }

  /**
   * As paths on the live system. When borg ends with warnings and one of them, or all, do not say what they were about, the
   * backup may lack anything of its sources: they are named, with borg's own words.
   */
  pathsOf(exitCode: number, sources: readonly CopySource[]): string[] {
    const unexplained = this.#unexplained ?? this.#pending;
    if (exitCode === WARNINGS && (this.#explained === 0 || unexplained !== undefined)) {
      const said = unexplained ?? 'borg does not say which';
      const why = printable(Buffer.from(said, 'utf8').toString('latin1'));
      for (const source of sources) this.#unreadable.add(path.join(source.path, `(some files: ${why})`));
    }
    return this.#unreadable.paths;
  }
}
