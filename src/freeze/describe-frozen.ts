import type { FreezeSettings } from '../config/types.js';
import type { FreezeTarget } from './freezer.js';

/** What `freeze` tells of a freeze that it left in the watchdogs' care. `nowMs`: when it returned, Unix time. */
export function describeFrozen(
  targets: readonly FreezeTarget[],
  settings: FreezeSettings,
  guards: { watchdogPids: readonly number[]; warnings: readonly string[] },
  nowMs: number,
): { json: object; text: string; warnings: readonly string[] } {
  const seconds = (settings.timeoutMs ?? settings.maxHoldMs) / 1000;
  const expiresAt = new Date(nowMs + seconds * 1000).toISOString();
  const names = targets.map((target) => target.mountpoint);
  return {
    json: {
      version: 1,
      frozen: targets.map(({ mountpoint, device, fstype }) => ({ mountpoint, device, fstype })),
      timeoutSeconds: settings.timeoutMs === null ? null : settings.timeoutMs / 1000,
      maxHoldSeconds: settings.maxHoldMs / 1000,
      expiresAt,
      watchdogPids: guards.watchdogPids,
      warnings: guards.warnings,
    },
    text: `Frozen: ${names.join(', ')}. Thawed by itself in ${seconds} s unless reset; thaw it with: fsbackup thaw ${names.join(' ')}`,
    warnings: guards.warnings,
  };
}
