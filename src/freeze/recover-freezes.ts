import { messageOf } from '../errors.js';
import { endDeadFreeze, type DeadFreezeOutcome } from './dead-freeze.js';
import { adoptRecord, readRecords, type FreezeRecord, type FreezeRecordBody } from './freeze-record.js';
import { isGuard } from './kill-guards.js';
import { sweepControlSockets } from './sweep-control-sockets.js';
import { byThawOrder } from './thaw-order.js';

/** A freeze whose guards and command are all dead, and what became of it. */
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

/** Undefined where somebody else was faster. */
async function recoverOne({ majorMinor }: FreezeRecordBody): Promise<RecoveredFreeze | undefined> {
  return await adoptRecord(majorMinor, async ({ body, status }, setStatus) => {
    if (status.kind !== 'armed') return undefined;
    const outcome = await endDeadFreeze(body);
    setStatus(
      outcome === 'thawed'
        ? { kind: 'lost', reason: 'guard-died', at: new Date().toISOString() }
        : { kind: 'thawed' },
    );
    return { mountpoint: body.mountpoint, outcome };
  });
}

/**
 * Thaws what fsbackup froze in this boot and nobody guards any more: command and both watchdogs were killed together.
 * The record says "armed" and its lock is free, so nobody living holds the freeze. Removes dead guards' control sockets
 * too. Idempotent; goes on past a failure.
 */
export async function recoverFreezes(): Promise<FreezeRecovery> {
  await sweepControlSockets();
  const recovery: FreezeRecovery = { recovered: [], failures: [] };
  const dead = readRecords((file, error) => {
    recovery.failures.push(`what ${file} tells of a freeze cannot be read: ${messageOf(error)}`);
  })
    .filter(isDead)
    .map(({ body }) => body);
  // Begun in the order of the thaw, and side by side: one that waits keeps no other from its thaw.
  await Promise.all(
    dead.toSorted(byThawOrder).map(async (body) => {
      try {
        const done = await recoverOne(body);
        if (done !== undefined) recovery.recovered.push(done);
      } catch (error) {
        recovery.failures.push(messageOf(error));
      }
    }),
  );
  return recovery;
}
