import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { ensurePrivateDirectory, runDirectory } from '../system/directories.js';
import { tryLock } from '../system/native.js';
import type { FreezeTarget, LossReason } from './freezer.js';
import { RECORD_STATUS_SIZE } from './protocol.js';
import { suggested } from '../system/command-line.js';

/** What is written of a freeze before it is made. */
export interface FreezeRecordBody extends FreezeTarget {
  version: 1;
  bootId: string;
  /** RFC 3339. */
  since: string;
  /** The same in ms of CLOCK_BOOTTIME, which nobody sets back; absent in records of earlier versions. */
  sinceMs?: number;
  /** Null: no timeout. */
  timeoutSeconds: number | null;
  maxHoldSeconds: number;
  /** Names what was frozen together by hand, for who comes back to it; absent where a command holds its freeze itself. */
  freezeId?: string;
  /** Its place in the set that was frozen together. */
  slot: number;
  /** Where its watchdog answers. */
  controlPath: string;
  /** Left in the care of the watchdog; else it lives and dies with its command. */
  detached: boolean;
  owner: { pid: number; command: string };
  watchdogPids: readonly number[];
  /** The kernel's number of what the device held then, which no other gets in this boot; absent where it has none. */
  diskSequence?: string;
}

/** The status line: `armed` while it may be frozen, then how it ended; of a loss, whether its `thaw` came and was told. */
export type FreezeStatus =
  { kind: 'armed' } | { kind: 'thawed' } | { kind: 'lost'; reason: LossReason; at: string; isTold?: boolean };

/** A record as another process finds it. */
export interface FreezeRecord {
  body: FreezeRecordBody;
  status: FreezeStatus;
  /** Somebody alive guards it: its lock is held. */
  guarded: boolean;
}

/** Whoever only reads a record holds its lock for an instant, which is no reason to refuse. */
const LOCK_ATTEMPTS = 20;
const LOCK_RETRY_MS = 5;

/** One file for each superblock that was ever frozen in this boot; also its lock. Never removed: a lock must not be. */
function recordsDirectory(): string {
  return path.join(runDirectory(), 'superblocks');
}

/** Identifies this boot: entries of another are of freezes that ended with it. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

async function lockPatiently(fd: number): Promise<boolean> {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt += 1) {
    if (tryLock(fd)) return true;
    await sleep(LOCK_RETRY_MS);
  }
  return false;
}

/**
 * Opens the record of a superblock and takes its lock; the lock is held until every copy of the descriptor is closed,
 * the watchdogs' included. Throws `locked` when a living fsbackup has it.
 */
export async function lockRecord(target: FreezeTarget): Promise<number> {
  const file = path.join(recordsDirectory(), target.majorMinor);
  await ensurePrivateDirectory(recordsDirectory());
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  if (await lockPatiently(fd)) return fd;
  const record = parseRecord(readAll(fd));
  const body = record?.body;
  closeSync(fd);
  if (body !== undefined && record?.status.kind !== 'armed') {
    throw new FsbackupError(
      'locked',
      `${target.mountpoint} was frozen together with others, which are held still (pid ${body.owner.pid}: ${body.owner.command})`,
      {
        hint: `It can be frozen again once they are thawed: see "fsbackup status"; \`${suggested('thaw', ['--all'])}\` ends them.`,
      },
    );
  }
  const by = body === undefined ? '' : ` (pid ${body.owner.pid}: ${body.owner.command})`;
  throw body?.detached === true
    ? new FsbackupError('locked', `${target.mountpoint} is held frozen already, by an earlier command${by}`, {
        hint: `Give it longer with \`${suggested('reset', [target.mountpoint])}\`, or end it with \`${suggested('thaw', [target.mountpoint])}\`.`,
      })
    : new FsbackupError('locked', `${target.mountpoint} is being frozen by another fsbackup${by}`, {
        hint: 'Wait until it is done; "fsbackup status" tells more.',
      });
}

function statusLine(status: FreezeStatus): string {
  const text =
    status.kind === 'lost'
      ? `lost ${status.reason} ${Math.floor(Date.parse(status.at) / 1000)}${status.isTold === true ? ' told' : ''}`
      : status.kind;
  return `${text.padEnd(RECORD_STATUS_SIZE - 1)}\n`;
}

/** The disk's, for a partition too; undefined where there is no device of that number, or the kernel (before 5.15) does not count. */
function readDiskSequence(majorMinor: string): string | undefined {
  for (const file of ['diskseq', '../diskseq']) {
    try {
      return readFileSync(`/sys/dev/block/${majorMinor}/${file}`, 'utf8').trim();
    } catch {
      // Of the disk above, or nowhere.
    }
  }
  return undefined;
}

/** Whether the device holds another disk by now: its number is used again, for a loop device soon. */
export function isOfAnotherDisk({
  majorMinor,
  diskSequence,
}: Pick<FreezeRecordBody, 'majorMinor' | 'diskSequence'>): boolean {
  if (diskSequence === undefined) return false;
  const now = readDiskSequence(majorMinor);
  return now !== undefined && now !== diskSequence;
}

/** Writes a whole record: what may be frozen from now on. */
export function writeRecord(fd: number, body: FreezeRecordBody): void {
  const diskSequence = readDiskSequence(body.majorMinor);
  const whole = { ...body, ...(diskSequence === undefined ? {} : { diskSequence }) };
  const text = Buffer.from(`${statusLine({ kind: 'armed' })}${JSON.stringify(whole)}\n`);
  try {
    ftruncateSync(fd, text.length);
    // write(2) may take less, and says why only the next time.
    for (let at = 0; at < text.length;) at += writeSync(fd, text, at, text.length - at, at);
  } catch (error) {
    const directory = recordsDirectory();
    throw new FsbackupError(
      'failed',
      `the freeze of ${body.mountpoint} cannot be put on record: ${messageOf(error)}`,
      {
        hint: `Make room in ${directory}, and see that root may write there; nothing was frozen.`,
        cause: error,
      },
    );
  }
}

/** Overwrites the status line in place. */
export function writeStatus(fd: number, status: FreezeStatus): void {
  writeSync(fd, Buffer.from(statusLine(status)), 0, RECORD_STATUS_SIZE, 0);
}

/** The status line of an open record; undefined when it has none. */
export function readStatus(fd: number): FreezeStatus | undefined {
  return parseStatus(readAll(fd).split('\n')[0] ?? '');
}

function readAll(fd: number): string {
  const buffer = Buffer.alloc(fstatSync(fd).size);
  const length = readSync(fd, buffer, 0, buffer.length, 0);
  return buffer.toString('utf8', 0, length);
}

function parseStatus(line: string): FreezeStatus | undefined {
  const [kind, reason, seconds, told] = line.trim().split(' ');
  if (kind === 'armed' || kind === 'thawed') return { kind };
  if (kind !== 'lost' || reason === undefined) return undefined;
  const at = new Date(Number(seconds) * 1000).toISOString();
  return { kind, reason: reason as LossReason, at, ...(told === undefined ? {} : { isTold: true }) };
}

/** The parts of a record's text; undefined for one that is empty or was cut short: then nothing was frozen. */
function parseRecord(text: string): Omit<FreezeRecord, 'guarded'> | undefined {
  const status = parseStatus(text.slice(0, RECORD_STATUS_SIZE));
  if (status === undefined) return undefined;
  try {
    return { status, body: JSON.parse(text.slice(RECORD_STATUS_SIZE)) as FreezeRecordBody };
  } catch {
    return undefined;
  }
}

/** What the record tells that `fd` is open at and whose lock is held by it, of this boot; undefined when it tells nothing. */
export function readLocked(fd: number): FreezeRecord | undefined {
  const parsed = parseRecord(readAll(fd));
  return parsed?.body.bootId === readBootId() ? { ...parsed, guarded: false } : undefined;
}

/** Calls `use` with an open record and whether somebody guards it; when nobody does, its lock is held meanwhile. */
function withRecord<T>(file: string, use: (fd: number, record: FreezeRecord) => T): T | undefined {
  const fd = openSync(file, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const guarded = !tryLock(fd);
    const parsed = parseRecord(readAll(fd));
    return parsed === undefined ? undefined : use(fd, { ...parsed, guarded });
  } finally {
    closeSync(fd);
  }
}

/**
 * All records of this boot, but those of what a device held before: while that was frozen the device could hold nothing else. A freeze
 * of an earlier boot ended with it. One that cannot be read keeps none of the others from being found.
 */
export function readRecords(
  onUnreadable: (file: string, error: unknown) => void = () => undefined,
): FreezeRecord[] {
  let names: string[];
  try {
    names = readdirSync(recordsDirectory());
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const bootId = readBootId();
  return (
    names
      .map((name) => {
        try {
          return withRecord(path.join(recordsDirectory(), name), (_, record) => record);
        } catch (error) {
          onUnreadable(path.join(recordsDirectory(), name), error);
          return undefined;
        }
      })
      .filter((record) => record !== undefined)
      .filter(({ body }) => body.bootId === bootId)
      // Who guards a freeze has its disk.
      .filter(({ body, status, guarded }) => (status.kind === 'armed' && guarded) || !isOfAnotherDisk(body))
  );
}

/** The record of the superblock mounted at `mountpoint`, of this boot; undefined when fsbackup never froze it. */
export function findRecord(target: Pick<FreezeTarget, 'majorMinor' | 'fstype'>): FreezeRecord | undefined {
  // A device number is used again, for a loop device soon: a record of another filesystem is none of this one.
  return readRecords().find(
    ({ body }) => body.majorMinor === target.majorMinor && body.fstype === target.fstype,
  );
}

/** Takes the lock of a record that nobody guards for the time of `use`; undefined when somebody does. */
export async function adoptRecord<T>(
  majorMinor: string,
  use: (record: FreezeRecord, setStatus: (status: FreezeStatus) => void) => Promise<T>,
): Promise<T | undefined> {
  const fd = openSync(path.join(recordsDirectory(), majorMinor), constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if (!(await lockPatiently(fd))) return undefined;
    const parsed = parseRecord(readAll(fd));
    if (parsed === undefined) return undefined;
    return await use({ ...parsed, guarded: false }, (status) => writeStatus(fd, status));
  } finally {
    closeSync(fd);
  }
}
