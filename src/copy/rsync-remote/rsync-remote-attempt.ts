import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { hostLabel, hostMark } from '../../system/host-label.js';
import type { runCommand } from '../../system/run-command.js';
import type { BackupRef } from '../backup/backup-layout.js';
import { PacedStream } from '../pace.js';
import type { ResumeTrees } from '../rsync/resumption.js';
import { ABANDON, answers, FORGET, PREPARE, PUBLISH, RENEW, STORE_LIST } from './rsync-remote-scripts.js';

/** What an attempt needs of the other host. */
export interface AttemptPlace {
  /** The job's, there. */
  directory: string;
  /** Runs a script there with these arguments, which reads `input`. Rejects with `copyFailed` unless it succeeds. */
  script: (
    script: string,
    args: readonly string[],
    signal?: AbortSignal,
    input?: Readable,
  ) => Promise<string>;
  /** Runs a program there. */
  run: typeof runCommand;
  /** This host, as `hostMark` has it. */
  host?: string;
}

/**
 * One attempt at a copy to another host, which lies there in a directory of its own, `.incomplete-<this host>=<attempt>`, until it
 * is published. It stays when the copy is broken off, and the next attempt takes it over: what of this one is still going on there
 * finds it no more.
 */
export class RemoteAttempt {
  readonly #backup: Pick<BackupRef, 'job' | 'backupId'>;
  readonly #place: AttemptPlace;
  readonly #host: string;
  readonly #mark: string;

  constructor(backup: Pick<BackupRef, 'job' | 'backupId'>, place: AttemptPlace) {
    this.#backup = backup;
    this.#place = place;
    this.#host = `${place.host ?? hostMark()}=`;
    this.#mark = `${this.#host}${randomBytes(6).toString('hex')}`;
  }

  #at(name: string): string {
    return `${this.#place.directory}/.incomplete-${this.#mark}/${name}`;
  }

  /** What is copied to. */
  get tree(): string {
    return this.#at('tree');
  }

  /** Where rsync keeps what it has of a file that did not come whole. */
  get partial(): string {
    return this.#at('partial');
  }

  /** The trees that the copy can be gone on with. */
  trees(signal: AbortSignal): ResumeTrees {
    return {
      place: 'there',
      incomplete: this.tree,
      earlier: this.#at('earlier'),
      known: this.#at('known'),
      fresh: this.#at('new'),
      run: this.#place.run,
      prepare: async (former) => {
        const keep = former === undefined ? 'no' : 'yes';
        const said = await this.#on(PREPARE, [keep, former ?? ''], signal);
        const [instance = ''] = answers(said, 'instance');
        const has = (word: string): boolean => answers(said, word).length > 0;
        return { instance, hasEarlier: has('earlier'), hasKnown: has('known') };
      },
      renew: async () => void (await this.#on(RENEW, [], signal)),
      forget: async () => void (await this.#on(FORGET, [], signal)),
    };
  }

  /**
   * Gives what was copied its name, once all of it is on disk there, its note and the list of its digests beside it. Rejects, and
   * gives it none, where another attempt has begun since.
   */
  async publish(
    { note, list }: { note: string; list: string | undefined },
    signal: AbortSignal,
    limitBytesPerSecond?: number,
  ): Promise<void> {
    if (list !== undefined) {
      const { size } = await stat(list);
      const paced = new PacedStream(limitBytesPerSecond);
      // Who reads it learns of an error from it.
      pipeline(createReadStream(list), paced, () => undefined);
      await this.#on(STORE_LIST, [String(size)], signal, paced);
    }
    const text = Buffer.from(note, 'utf8');
    await this.#on(PUBLISH, [String(text.length)], signal, Readable.from([text]));
  }

  /** Removes what this host has there that is incomplete. */
  async abandon(): Promise<void> {
    await this.#on(ABANDON, []);
  }

  async #on(
    script: string,
    more: readonly string[],
    signal?: AbortSignal,
    input?: Readable,
  ): Promise<string> {
    const { job, backupId } = this.#backup;
    const args = [job, backupId, this.#mark, this.#host, hostLabel(), ...more];
    return await this.#place.script(script, args, signal, input);
  }
}
