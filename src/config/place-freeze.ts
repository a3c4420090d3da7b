import { CONFIG_NAMES, type FreezeLayer, type FreezeNames, resolveFreeze } from './freeze-settings.js';
import { overrideError, type OverrideLayer } from './overrides.js';
import type { ConfigProblem, ValuePath } from './problems.js';
import type { RawFreeze } from './schema.js';
import type { FreezeSettings } from './types.js';
import type { YamlFile } from './yaml-file.js';

/** A mapping in a file. */
export interface Place {
  file: YamlFile;
  path: ValuePath;
}

/** The layer that a `freeze` mapping at `place` makes; an absent one gives an empty layer. */
export function fileLayer(place: Place, raw: RawFreeze | undefined): FreezeLayer<Place> {
  const { timeout, maxHold, noTimeout } = raw ?? {};
  return {
    origin: place,
    names: CONFIG_NAMES,
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(maxHold === undefined ? {} : { maxHoldMs: maxHold }),
    ...(noTimeout === undefined ? {} : { noTimeout }),
  };
}

/**
 * The times that hold where `layers` meet, and what is wrong with them in the files; a built-in default that cannot
 * stand is told at `fallback`. Throws `usage` when a flag or variable is what cannot stand.
 */
export function resolvePlacedFreeze(
  overrides: readonly OverrideLayer[],
  layers: readonly FreezeLayer<Place>[],
  context: { hungTaskTimeoutMs: number | null; fallback: Place },
): { settings: FreezeSettings; problems: ConfigProblem[] } {
  const { settings, complaints } = resolveFreeze<FreezeNames | Place>(
    [...overrides, ...layers],
    context.hungTaskTimeoutMs,
  );
  const problems = complaints.map(({ origin = context.fallback, key, message }) => {
    if (!('file' in origin)) throw overrideError(origin[key], message);
    return origin.file.locate({ path: [...origin.path, key], message, at: 'value' });
  });
  return { settings, problems };
}
