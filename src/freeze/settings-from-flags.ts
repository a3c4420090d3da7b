import { overrideError, overrideLayers, readEnvironment, type Overrides } from '../config/overrides.js';
import { resolveFreeze } from '../config/freeze-settings.js';
import type { FreezeSettings } from '../config/types.js';
import { readHungTaskTimeoutMs } from '../system/hung-task.js';

/** The dead-man's times of a freeze by hand: flags over environment over the defaults. Rejects with `usage`. */
export async function freezeSettings(flags: Overrides, env: NodeJS.ProcessEnv): Promise<FreezeSettings> {
  const layers = overrideLayers(flags, readEnvironment(env));
  const { settings, complaints } = resolveFreeze(layers, await readHungTaskTimeoutMs());
  const [complaint] = complaints;
  if (complaint !== undefined) {
    const names = complaint.origin ?? {
      timeout: '--timeout',
      maxHold: '--max-hold',
      noTimeout: '--no-timeout',
    };
    throw overrideError(names[complaint.key], complaint.message);
  }
  return settings;
}
