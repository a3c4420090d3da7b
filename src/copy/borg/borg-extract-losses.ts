import path from 'node:path';
import { LIST, parseAttributeComplaint, parseWarning, type BorgMessage } from './borg-output.js';
import { toLivePath } from './borg-reference.js';
import { TARGET_REFUSES } from '../copy-error.js';
import { printable } from '../printable.js';

/** A path that is not in the archive is noticed by its absence. */
const NEVER_MATCHED = /never matched/;

/** Gathers from what `borg extract --list` says what it could not restore, to `staged`. */
export class BorgExtractLosses {
  readonly #staged: string;
  readonly #onLost: (live: string) => void;
  /** As borg lists it: a byte that is no UTF-8 is another character. Warnings of it come after, and write it so too. */
  #listed: string | undefined;
  #explained = 0;
  #unexplained: string | undefined;
  /** The target takes nothing more: borg goes on with the next file then. */
  isRefused = false;

  /** `onLost` is told each path as on the live system, as often as borg complains of it. */
  constructor(staged: string, onLost: (live: string) => void) {
    this.#staged = staged;
    this.#onLost = onLost;
  }

  /** For each line of it. */
  heard(said: BorgMessage): void {
    if (said.type !== 'log_message') return;
    if (said.name === LIST) this.#listed = said.message;
    else if (said.levelname === 'WARNING') this.#warned(said);
  }

  #warned(said: BorgMessage & { type: 'log_message' }): void {
    const { message } = said;
    const attribute = parseAttributeComplaint(message);
    if (attribute !== undefined) {
      this.#lostAttribute(attribute.path);
      return;
    }
    const lost = this.#listedIn(message) ?? parseWarning(said);
    if (lost !== undefined) {
      // Not in its name.
      this.isRefused ||= TARGET_REFUSES.test(message.slice(lost.length));
      this.#add(toLivePath(lost));
    } else if (NEVER_MATCHED.test(message)) this.#explained += 1;
    else this.#unexplained ??= message;
  }

  /** A directory gets its attributes when it is left, and is named then; a file when it was listed last. */
  #lostAttribute(told: string | undefined): void {
    const prefix = `${Buffer.from(this.#staged).toString('latin1')}/`;
    if (told?.startsWith(prefix) === true) this.#add(`/${printable(told.slice(prefix.length))}`);
    else if (this.#listed !== undefined) this.#add(toLivePath(this.#listed));
    else this.#unexplained ??= 'extended attributes';
  }

  /** Which of what was listed a warning begins with: in whatever words it goes on. */
  #listedIn(message: string): string | undefined {
    const listed = this.#listed;
    if (listed === undefined) return undefined;
    for (let at = listed; at !== '.' && at !== '/'; at = path.dirname(at))
      if (message.startsWith(`${at}: `)) return at;
    return undefined;
  }

  #add(live: string): void {
    this.#explained += 1;
    this.#onLost(live);
  }

  /** Whether it warned of anything: without, an exit code that says so is another failure. */
  get hasWarned(): boolean {
    return this.#explained > 0 || this.#unexplained !== undefined;
  }

  /**
   * To be called at the end of one that ended with warnings. What borg says in words that nobody here knows may be about
   * anything that was wanted (empty: everything), and is told as it is.
   */
  end(wanted: readonly string[]): void {
    if (this.#unexplained === undefined) return;
    const why = printable(Buffer.from(this.#unexplained, 'utf8').toString('latin1'));
    for (const live of wanted.length === 0 ? ['/'] : wanted)
      this.#onLost(path.join(live, `(some files: ${why})`));
  }
}
