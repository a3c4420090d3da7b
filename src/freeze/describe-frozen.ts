import type { FreezeSettings } from '../config/types.js';
import type { DetachedFreeze } from './freeze-by-hand.js';
import type { FreezeTarget } from './freezer.js';
import { suggested } from '../system/command-line.js';

/**
 * What `freeze` tells of a freeze that it left in the watchdogs' care, which ends `expiresInMs` from `nowMs`, Unix time. That is less
 * than the timeout, which counts from the first FIFREEZE on.
 */
export function describeFrozen(
  targets: readonly FreezeTarget[],
  settings: FreezeSettings,
  left: DetachedFreeze,
  nowMs: number,
): { json: object; text: string; warnings: readonly string[] } {
  const seconds = Number((left.expiresInMs / 1000).toFixed(1));
  const maxHold = settings.maxHoldMs / 1000;
  const limit =
    settings.timeoutMs === null
      ? ''
      : ` unless reset, and ${maxHold} s after the freeze in any case (--max-hold)`;
  const expiresAt = new Date(nowMs + left.expiresInMs).toISOString();
  const names = targets.map((target) => target.mountpoint);
  return {
    json: {
      version: 1,
      freezeId: left.freezeId,
      frozen: targets.map(({ mountpoint, device, fstype }) => ({ mountpoint, device, fstype })),
      timeoutSeconds: settings.timeoutMs === null ? null : settings.timeoutMs / 1000,
      maxHoldSeconds: settings.maxHoldMs / 1000,
      expiresAt,
      watchdogPids: left.watchdogPids,
      warnings: left.warnings,
    },
    text: `Frozen: ${names.join(', ')}. Thawed by itself in ${seconds} s${limit}; thaw it with: ${suggested('thaw', ['--freeze', left.freezeId, ...names])}`,
    warnings: left.warnings,
  };
}
