import { readFile } from 'node:fs/promises';
import type * as z from 'zod';
import type { BackupTarget } from '../../backup-target.js';
import type { RemoveRequest } from '../engine.js';
import { Leftovers } from './leftovers.js';
import type { ReferenceFile } from '../repository/reference.js';
import type { TargetPrograms } from '../target/target-programs.js';
import path from 'node:path';
import { createHash } from 'node:crypto';

const REMOVE_TIMEOUT_MS = 600_000;

/** What the engines have in common that reach a repository by commands: how it is looked at, and what is removed. */
export class CommandRepository<Schema extends z.ZodType> {
  readonly #target: BackupTarget;
  readonly #programs: TargetPrograms;
  readonly #reference: ReferenceFile<Schema>;
  readonly #leftovers: Leftovers;

  constructor(target: BackupTarget, programs: TargetPrograms, reference: ReferenceFile<Schema>) {
    this.#target = target;
    this.#programs = programs;
    this.#reference = reference;
    this.#leftovers = new Leftovers(target.path);
  }

  /**
   * Looks whether it can take a backup. What tells it from every other one is its name alone. What could not be removed
   * before is removed now.
   */
  async open(signal?: AbortSignal): Promise<string> {
    await this.#programs.requirePrograms();
    await this.#programs.check(signal);
    if (this.#programs.has('remove')) {
      const timeoutMs = REMOVE_TIMEOUT_MS;
      await this.#leftovers.removeAll(async (backup) => {
        await this.#programs.must('remove', backup, { timeoutMs });
      });
    }
    return createHash('sha256')
      .update(this.#target.repository?.repository ?? '')
      .digest('hex');
  }

  /**
   * `CopyEngine.remove`. A whole backup needs a command for it. Of one that was cut short what can be is removed, now or
   * by a later run: a target that nobody answers at keeps nobody from going on.
   */
  async remove({ dataDirectory, backup, signal }: RemoveRequest): Promise<void> {
    if (!(await this.#reference.mayExist(dataDirectory))) return;
    const isWhole = await readFile(path.join(dataDirectory, 'reference.json')).then(
      () => true,
      () => false,
    );
    if (!isWhole && !this.#programs.has('remove')) return;
    try {
      const options = signal === undefined ? {} : { signal };
      await this.#programs.must('remove', backup, { ...options, timeoutMs: REMOVE_TIMEOUT_MS });
    } catch (error) {
      if (isWhole) throw error;
      await this.#leftovers.note(backup);
    }
  }
}
