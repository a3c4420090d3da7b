import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeSync,
} from 'node:fs';
import { readFile, rm, unlink } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { stateDirectory } from '../../system/directories.js';
import { isAlive, parseStartTime } from '../../system/process-identity.js';
import type { CommandResult, CommandWatch } from '../../system/run-command.js';
import { isSameHost, thisHost } from '../../system/this-host.js';

/** A restic that was started here, and whose end nobody has noted. */
const recordSchema = z.object({
  version: z.literal(1),
  host: z.object({ name: z.string(), id: z.string().exactOptional() }),
  bootId: z.string(),
  pidNamespace: z.string(),
  pid: z.number(),
  startTime: z.number(),
  startedAt: z.string(),
  /** The locks that were there before it. */
  before: z.array(z.string()),
});

type LockRecord = z.infer<typeof recordSchema>;

const lockSchema = z.object({ time: z.string(), hostname: z.string(), pid: z.number() });

/** What a lock of restic's tells of who made it. */
export type ResticLock = z.infer<typeof lockSchema>;

/** What `restic cat lock` prints; undefined for anything else. */
export function parseLock(text: string): ResticLock | undefined {
  try {
    return lockSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function startTimeOf(pid: number): number | undefined {
  try {
    return parseStartTime(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Which pids mean the same: those of one boot and one PID namespace. */
function pidSpace(): Pick<LockRecord, 'bootId' | 'pidNamespace'> {
  return {
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
  };
}

/** Whether it has surely ended; of one in another PID namespace of this boot nobody can say. */
function isDead({ host, bootId, pidNamespace, pid, startTime }: LockRecord): boolean {
  if (!isSameHost(host, thisHost())) return false;
  const here = pidSpace();
  if (bootId !== here.bootId) return true;
  return pidNamespace === here.pidNamespace && !(isAlive(pid) && startTimeOf(pid) === startTime);
}

/** Whether a lock that was not there before that dead restic is its own. */
function isOf(record: LockRecord, lock: ResticLock): boolean {
  return (
    lock.hostname === record.host.name &&
    lock.pid === record.pid &&
    Date.parse(lock.time) >= Date.parse(record.startedAt) &&
    // The pid may be another restic's by now.
    !isAlive(lock.pid)
  );
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * The locks that restics of ours hold on a repository in a directory of this host: each restic is noted before it can have locked
 * anything, with its pid, its start and the locks that were there before it, and struck out at its end. So what a power cut or SIGKILL
 * left can be told from a lock of somebody who lives. `restic unlock` cannot tell that: it takes every lock that names this hostname
 * and a pid that is not here for a dead one, also a clone's or a container's that is writing, and sends SIGHUP to whoever has
 * that pid. In a repository elsewhere single locks cannot be removed, and none is.
 */
export class OwnLocks {
  readonly #locks: string;
  readonly #records: string;
  readonly #read: (id: string) => Promise<ResticLock | undefined>;

  /** `read` has restic tell what a lock says, and takes none for that. */
  constructor(
    repository: string,
    read: (id: string) => Promise<ResticLock | undefined>,
    state = stateDirectory(),
  ) {
    this.#locks = path.join(repository, 'locks');
    const name = createHash('sha256').update(repository).digest('hex').slice(0, 16);
    this.#records = path.join(state, 'restic', name);
    this.#read = read;
  }

  /** Starts a restic that is noted. What cannot be noted is nobody's later, and stays. */
  async around(start: (watch: CommandWatch) => Promise<CommandResult>): Promise<CommandResult> {
    const file = path.join(this.#records, `${randomUUID()}.json`);
    const before = namesIn(this.#locks);
    const startedAt = new Date().toISOString();
    const result = await start({
      started: (pid) => {
        const startTime = startTimeOf(pid);
        if (startTime === undefined) return;
        const host = thisHost();
        const record: LockRecord = { version: 1, host, ...pidSpace(), pid, startTime, startedAt, before };
        try {
          this.#write(file, JSON.stringify(record));
        } catch {
          // As above.
        }
      },
      ended: () => undefined,
    });
    // One that ends by itself removes its lock.
    if (result.signal === undefined) await rm(file, { force: true });
    return result;
  }

  #write(file: string, text: string): void {
    mkdirSync(this.#records, { recursive: true, mode: 0o700 });
    const descriptor = openSync(file, 'wx', 0o600);
    try {
      writeSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  /** Removes the locks of restics of ours that are dead, and forgets those. Idempotent. */
  async settle(): Promise<void> {
    for (const name of namesIn(this.#records)) {
      const file = path.join(this.#records, name);
      const record = await this.#recordIn(file);
      if (record === undefined || !isDead(record)) continue;
      if (await this.#removeOf(record)) await rm(file, { force: true });
    }
  }

  async #recordIn(file: string): Promise<LockRecord | undefined> {
    try {
      return recordSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    } catch {
      return undefined;
    }
  }

  /** Whether nothing of it is left, as far as can be told. */
  async #removeOf(record: LockRecord): Promise<boolean> {
    const matching: string[] = [];
    for (const id of namesIn(this.#locks).filter((one) => !record.before.includes(one))) {
      const lock = await this.#read(id);
      // That of somebody who has ended meanwhile; else it cannot be read just now.
      if (lock === undefined && existsSync(path.join(this.#locks, id))) return false;
      if (lock !== undefined && isOf(record, lock)) matching.push(id);
    }
    const [id, another] = matching;
    // One program has one lock; two are of two hosts, or it died in the moment in which it renews its own.
    if (id !== undefined && another === undefined) await unlink(path.join(this.#locks, id));
    return true;
  }
}
