import { chmod, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { writeDurably } from '../journal/durable-file.js';
import { makeDirectories } from '../system/make-directories.js';
import type { UnitFile } from './plan-install.js';
import { DROP_IN, MARKER, unitName } from './unit-text.js';

const WANTS = 'timers.target.wants';

/** Where systemd finds the administrator's units, /etc/systemd/system; another one in tests. */
export class UnitDirectory {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Writes what is not there as it should be; the names of what it wrote. Rejects with `usage`, and writes nothing,
   * where a file of that name is somebody else's. Idempotent.
   */
  async install(files: readonly UnitFile[]): Promise<string[]> {
    const changed: UnitFile[] = [];
    for (const file of files) {
      const present = await this.#read(file.name);
      if (present === file.text) continue;
      if (present !== undefined) this.#checkOurs(file.name, present);
      changed.push(file);
    }
    for (const { name, text } of changed) await this.#write(name, text);
    return changed.map(({ name }) => name);
  }

  /** Removes files, and directories that are empty without them; the names of those that were there. Idempotent. */
  async remove(names: readonly string[]): Promise<string[]> {
    const removed: string[] = [];
    for (const name of names) {
      const present = await this.#read(name);
      if (present === undefined) continue;
      this.#checkOurs(name, present);
      await rm(this.#path(name));
      removed.push(name);
      if (path.dirname(name) !== '.') await this.#removeEmpty(path.dirname(name));
    }
    return removed;
  }

  /** The jobs that are scheduled: those with a drop-in of ours, and those whose timer is enabled. Sorted. */
  async jobs(): Promise<string[]> {
    const jobs = new Set<string>();
    for (const name of await this.#list('.')) {
      const [, job] = /^fsbackup@(.+)\.timer\.d$/.exec(name) ?? [];
      if (job !== undefined && (await this.#read(path.join(name, DROP_IN))) !== undefined) jobs.add(job);
    }
    for (const name of await this.#list(WANTS)) {
      const [, job] = /^fsbackup@(.+)\.timer$/.exec(name) ?? [];
      if (job !== undefined) jobs.add(job);
    }
    return [...jobs].toSorted();
  }

  /** What was installed of the service of a job alone. */
  async serviceDropIn(job: string): Promise<string | undefined> {
    return await this.#read(path.join(`${unitName(job, 'service')}.d`, DROP_IN));
  }

  /** What was installed as a template; undefined: nothing of ours. */
  async template(name: string): Promise<string | undefined> {
    const text = await this.#read(name);
    return text === undefined || !isOurs(text) ? undefined : text;
  }

  #path(name: string): string {
    return path.join(this.#directory, name);
  }

  async #list(name: string): Promise<string[]> {
    return await orNothing(readdir(this.#path(name)), []);
  }

  async #read(name: string): Promise<string | undefined> {
    return await orNothing(readFile(this.#path(name), 'utf8'), undefined);
  }

  #checkOurs(name: string, text: string): void {
    if (isOurs(text)) return;
    throw new FsbackupError('usage', `${this.#path(name)} was not written by fsbackup schedule`, {
      hint: 'Look whether it is still needed, and move it away; what it changes belongs into a drop-in (systemctl edit).',
    });
  }

  async #write(name: string, text: string): Promise<void> {
    const file = this.#path(name);
    try {
      await makeDirectories(path.dirname(file), 0o755);
      await writeDurably(file, text);
      // There is no secret in it, and `systemctl cat` is for everybody.
      await chmod(file, 0o644);
    } catch (error) {
      throw new FsbackupError('failed', `${file} cannot be written: ${messageOf(error)}`, {
        hint: 'Run it as root; where /etc is read-only, install the units of the package (its directory systemd) with the system.',
        cause: error,
      });
    }
  }

  async #removeEmpty(name: string): Promise<void> {
    try {
      await rmdir(this.#path(name));
    } catch (error) {
      // Somebody's own drop-ins stay.
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}

function isOurs(text: string): boolean {
  return text.split('\n')[0]?.includes(MARKER) === true;
}

async function orNothing<T, U>(reading: Promise<T>, nothing: U): Promise<T | U> {
  try {
    return await reading;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return nothing;
    throw error;
  }
}
