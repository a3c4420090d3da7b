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

/** What the times are held against. */
export interface PlacedContext {
  hungTaskTimeoutMs: number | null;
  /** Where a built-in default that cannot stand is told. */
  fallback: Place;
  /** Whether a flag or variable that cannot stand is refused: else nobody is about to use it here. */
  refusesOverrides: boolean;
}

/**
 * The times that hold where `layers` meet, and what is wrong with them in the files. Throws `usage` when a flag or
 * variable is what cannot stand and that is to be refused.
 */
export function resolvePlacedFreeze(
  overrides: readonly OverrideLayer[],
  layers: readonly FreezeLayer<Place>[],
  { hungTaskTimeoutMs, fallback, refusesOverrides }: PlacedContext,
): { settings: FreezeSettings; problems: ConfigProblem[] } {
  const { settings, complaints } = resolveFreeze<FreezeNames | Place>(
    [...overrides, ...layers],
    hungTaskTimeoutMs,
  );
  const problems = complaints.flatMap(({ origin = fallback, key, message }) => {
    if ('file' in origin) return [origin.file.locate({ path: [...origin.path, key], message, at: 'value' })];
    if (refusesOverrides) throw overrideError(origin[key], message);
    return [];
  });
  return { settings, problems };
}
