import { closeSync } from 'node:fs';
import { messageOf } from '../errors.js';
import { probeFrozen, thaw } from '../system/native.js';
import { adoptRecord, readRecords, type FreezeRecordBody } from './freeze-record.js';
import { isGuard } from './kill-guards.js';
import { openFilesystem } from './mountpoint.js';
import { sweepControlSockets } from './sweep-control-sockets.js';

/** A freeze whose guards and command are all dead, and what became of it. */
export interface RecoveredFreeze {
  mountpoint: string;
  outcome: 'thawed' | 'was not frozen' | 'not mounted';
}

export interface FreezeRecovery {
  recovered: RecoveredFreeze[];
  /** Messages of those that could not be dealt with; they may still be frozen. */
  failures: string[];
}

async function release(body: FreezeRecordBody): Promise<RecoveredFreeze> {
  const { mountpoint } = body;
  const fd = await openFilesystem(body);
  if (fd === undefined) return { mountpoint, outcome: 'not mounted' };
  try {
    if (!(await probeFrozen(fd))) return { mountpoint, outcome: 'was not frozen' };
    thaw(fd);
    return { mountpoint, outcome: 'thawed' };
  } finally {
    closeSync(fd);
  }
}

/**
 * Thaws what fsbackup froze in this boot and nobody guards any more: command and both watchdogs were killed together.
 * The record says "armed" and its lock is free, so nobody living holds the freeze. Removes dead guards' control sockets
 * too. Idempotent; goes on past a failure.
 */
export async function recoverFreezes(): Promise<FreezeRecovery> {
  await sweepControlSockets();
  const recovery: FreezeRecovery = { recovered: [], failures: [] };
  for (const { body, status, guarded } of readRecords()) {
    // The lock alone may be that of somebody who reads the record.
    if (status.kind !== 'armed' || (guarded && body.watchdogPids.some(isGuard))) continue;
    try {
      const done = await adoptRecord(body.majorMinor, async (record, setStatus) => {
        if (record.status.kind !== 'armed') return undefined;
        const freeze = await release(record.body);
        setStatus(
          freeze.outcome === 'thawed'
            ? { kind: 'lost', reason: 'guard-died', at: new Date().toISOString() }
            : { kind: 'thawed' },
        );
        return freeze;
      });
      if (done !== undefined) recovery.recovered.push(done);
    } catch (error) {
      recovery.failures.push(`${body.mountpoint} may still be frozen: ${messageOf(error)}`);
    }
  }
  return recovery;
}
