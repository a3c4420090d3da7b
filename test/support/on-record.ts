import { lockRecord, readBootId, writeRecord, writeStatus } from '../../src/freeze/freeze-record.js';
import type { FreezeRecordBody, FreezeStatus } from '../../src/freeze/freeze-record.js';

/** A freeze of this boot, on a device number that no device has. */
export function freezeBody(changes: Partial<FreezeRecordBody> = {}): FreezeRecordBody {
  return {
    version: 1,
    mountpoint: '/srv',
    majorMinor: '0:999999',
    device: '/dev/vdz',
    fstype: 'ext4',
    bootId: readBootId(),
    since: '2026-01-02T03:04:00.000Z',
    timeoutSeconds: 10,
    maxHoldSeconds: 60,
    slot: 0,
    controlPath: '/nowhere',
    detached: true,
    owner: { pid: 1234, command: 'fsbackup freeze' },
    watchdogPids: [],
    ...changes,
  };
}

/** Puts a freeze on record in the run directory. It is guarded as long as the descriptor stays open that it resolves to. */
export async function putOnRecord(body: FreezeRecordBody, status?: FreezeStatus): Promise<number> {
  const fd = await lockRecord(body);
  writeRecord(fd, body);
  if (status !== undefined) writeStatus(fd, status);
  return fd;
}
