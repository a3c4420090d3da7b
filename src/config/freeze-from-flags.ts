import { FLAG_NAMES, resolveFreeze } from './freeze-settings.js';
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
  const [first] = complaints;
  if (first === undefined) return settings;
  throw overrideError((first.origin ?? FLAG_NAMES)[first.key], first.message);
}
