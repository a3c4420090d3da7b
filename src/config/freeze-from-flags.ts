import { FLAG_NAMES, resolveFreeze, type FreezeComplaint, type FreezeNames } from './freeze-settings.js';
import { overrideError, overrideLayers, type Overrides, readEnvironment } from './overrides.js';
import type { FreezeSettings } from './types.js';

/** The host's part in checking flags. */
export interface FlagContext {
  env: NodeJS.ProcessEnv;
  /** The kernel's hung-task limit; null lifts it. */
  hungTaskTimeoutMs: number | null;
}

/**
 * The freeze settings of a command that has no job: flags over environment over defaults. Throws `usage` when they
 * cannot hold: over the hung-task limit, longer than max-hold, 0 or 1 s without `noTimeout`.
 */
export function freezeFromFlags(flags: Overrides, context: FlagContext): FreezeSettings {
  const { settings, complaints } = resolveFreeze(
    overrideLayers(flags, readEnvironment(context.env)),
    context.hungTaskTimeoutMs,
  );
  refuse(complaints);
  return settings;
}

/**
 * The timeout that a freeze is reset to, milliseconds, 0 for none; undefined when nobody said: it keeps its own. It is held
 * against no longest hold, since that of the freeze stays. Throws `usage` for 0 or 1 s without `noTimeout`.
 */
export function resetTimeoutMs(flags: Overrides, env: NodeJS.ProcessEnv): number | undefined {
  const layers = overrideLayers(flags, readEnvironment(env));
  if (layers.every(({ timeoutMs, noTimeout }) => timeoutMs === undefined && noTimeout !== true))
    return undefined;
  const unbounded = layers.map((layer) => ({ ...layer, maxHoldMs: Number.MAX_SAFE_INTEGER }));
  const { settings, complaints } = resolveFreeze(unbounded, null);
  refuse(complaints);
  return settings.timeoutMs ?? 0;
}

function refuse([first]: readonly FreezeComplaint<FreezeNames>[]): void {
  if (first !== undefined) throw overrideError((first.origin ?? FLAG_NAMES)[first.key], first.message);
}
