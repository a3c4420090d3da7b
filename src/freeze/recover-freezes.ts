import { FsbackupError, messageOf } from '../errors.js';
import { endDeadFreeze, type DeadFreezeOutcome } from './dead-freeze.js';
import { adoptRecord, readRecords, type FreezeRecord, type FreezeRecordBody } from './freeze-record.js';
import { isGuard } from './kill-guards.js';
import { isOverdue } from './overdue-freeze.js';
import { sweepControlSockets } from './sweep-control-sockets.js';
import { byThawOrder } from './thaw-order.js';
import { thawSetWithoutGuards } from './thaw-without-guards.js';

/** A freeze that nobody ends any more, its guards being dead or stopped, and what became of it. */
export interface RecoveredFreeze {
  mountpoint: string;
  outcome: DeadFreezeOutcome;
}

export interface FreezeRecovery {
  recovered: RecoveredFreeze[];
  /** Messages of those that could not be dealt with; they may still be frozen. */
  failures: string[];
}

/** The lock alone may be that of somebody who reads the record. */
function isDead({ body, status, guarded }: FreezeRecord): boolean {
  return status.kind === 'armed' && !(guarded && body.watchdogPids.some(isGuard));
}

/** Nothing where somebody else was faster. */
async function recoverOne({ majorMinor }: FreezeRecordBody, recovery: FreezeRecovery): Promise<void> {
  await adoptRecord(majorMinor, async ({ body, status }, setStatus) => {
    if (status.kind !== 'armed') return;
    const outcome = await endDeadFreeze(body);
    setStatus(
      outcome === 'thawed'
        ? { kind: 'lost', reason: 'guard-died', at: new Date().toISOString() }
        : { kind: 'thawed' },
    );
    recovery.recovered.push({ mountpoint: body.mountpoint, outcome });
  });
}

/** What guards hold that let the deadline of `overdue` pass, and with it all that they hold. */
async function recoverOverdue(overdue: FreezeRecordBody, recovery: FreezeRecovery): Promise<void> {
  for (const [{ mountpoint }, result] of await thawSetWithoutGuards(overdue, new Set(), 'timeout')) {
    if (result instanceof FsbackupError) recovery.failures.push(result.message);
    else recovery.recovered.push({ mountpoint, outcome: result === 'was not frozen' ? result : 'thawed' });
  }
}

/** How late guards may be on a machine that is short of processors. */
const LATE_MS = 10_000;

/**
 * Thaws what fsbackup froze in this boot and nobody guards any more: command and both watchdogs were killed together, so the
 * record says "armed" and its lock is free; or they are stopped, and a deadline passed `lateMs` ago. Removes dead guards'
 * control sockets too. Idempotent; goes on past a failure.
 */
export async function recoverFreezes({ lateMs = LATE_MS } = {}): Promise<FreezeRecovery> {
  await sweepControlSockets();
  const recovery: FreezeRecovery = { recovered: [], failures: [] };
  const records = readRecords((file, error) => {
    recovery.failures.push(`what ${file} tells of a freeze cannot be read: ${messageOf(error)}`);
  });
  const dead = records.filter(isDead).map(({ body }) => body);
  const overdue = records.filter((record) => isOverdue(record, lateMs)).map(({ body }) => body);
  // One of each set.
  const sets = new Map(overdue.map((body) => [body.controlPath, body])).values();
  // Begun in the order of the thaw, and side by side: one that waits keeps no other from its thaw.
  const work = [
    ...dead.toSorted(byThawOrder).map(async (body) => await recoverOne(body, recovery)),
    ...Array.from(sets, async (body) => await recoverOverdue(body, recovery)),
  ];
  for (const result of await Promise.allSettled(work))
    if (result.status === 'rejected') recovery.failures.push(messageOf(result.reason));
  return recovery;
}
