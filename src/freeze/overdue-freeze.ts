import { boottimeMs } from '../system/native.js';
import type { FreezeRecord } from './freeze-record.js';
import { readGuardsPage } from './guards-page.js';
import { isGuard, isStopped } from './kill-guards.js';
import { SlotState } from './protocol.js';

/**
 * Whether a freeze is still held `lateMs` after its deadline: its guards are stopped, or in a cgroup that is frozen, and so is
 * whoever made it. A guard at work may wait in its FITHAW for what lies below, as we would.
 */
export function isOverdue({ body, status }: FreezeRecord, lateMs: number): boolean {
  if (status.kind !== 'armed') return false;
  const slot = readGuardsPage(body.watchdogPids, body.slot);
  if (slot === undefined || boottimeMs() < slot.deadlineMs + lateMs) return false;
  if (slot.state === SlotState.thawing) return body.watchdogPids.filter(isGuard).every(isStopped);
  return slot.state === SlotState.held || slot.state === SlotState.probing;
}
