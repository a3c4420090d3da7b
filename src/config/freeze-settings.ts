import { formatDuration } from './duration.js';
import type { FreezeSettings } from './types.js';

/** How a place calls the settings, so that a message names what the reader can change. */
export interface FreezeNames {
  timeout: string;
  maxHold: string;
  noTimeout: string;
}

export const CONFIG_NAMES: FreezeNames = {
  timeout: 'timeout',
  maxHold: 'maxHold',
  noTimeout: 'noTimeout: true',
};
export const FLAG_NAMES: FreezeNames = {
  timeout: '--timeout',
  maxHold: '--max-hold',
  noTimeout: '--no-timeout',
};
export const ENVIRONMENT_NAMES: FreezeNames = {
  timeout: 'FSBACKUP_TIMEOUT',
  maxHold: 'FSBACKUP_MAX_HOLD',
  noTimeout: 'FSBACKUP_NO_TIMEOUT=1',
};

/** The dead-man's times as one place gives them; what it leaves out comes from the place below. */
export interface FreezeLayer<Origin> {
  /** Where they were written, for whoever reports a complaint. */
  origin: Origin;
  names: FreezeNames;
  timeoutMs?: number;
  maxHoldMs?: number;
  noTimeout?: boolean;
}

/** A setting that cannot stand. */
export interface FreezeComplaint<Origin> {
  /** Undefined for a built-in default. */
  origin: Origin | undefined;
  key: 'timeout' | 'maxHold' | 'noTimeout';
  message: string;
}

export interface ResolvedFreeze<Origin> {
  settings: FreezeSettings;
  complaints: FreezeComplaint<Origin>[];
}

export const DEFAULT_TIMEOUT_MS = 10_000;
export const DEFAULT_MAX_HOLD_MS = 60_000;

/** The 2008 ioctls took 0 and 1 to mean "no timeout"; a person who types 1 means a second. */
function meansNone(timeoutMs: number): boolean {
  return timeoutMs === 0 || timeoutMs === 1000;
}

function resolveTimeout<Origin>(
  layer: FreezeLayer<Origin> | undefined,
  maxHoldMs: number,
): {
  timeoutMs: number | null;
  complaint?: FreezeComplaint<Origin>;
} {
  // Nobody said one, so whoever said a shorter cap means that.
  if (layer === undefined) return { timeoutMs: Math.min(DEFAULT_TIMEOUT_MS, maxHoldMs) };
  if (layer.timeoutMs === undefined) return { timeoutMs: null };
  const { origin, names, timeoutMs, noTimeout = false } = layer;
  const text = formatDuration(timeoutMs);
  if (meansNone(timeoutMs) === noTimeout) return { timeoutMs: noTimeout ? null : timeoutMs };
  if (noTimeout) {
    const message = `contradicts the timeout of ${text}: leave one of them out`;
    return { timeoutMs, complaint: { origin, key: 'noTimeout', message } };
  }
  const message = `${text} means no timeout, as in the ioctls this follows: say so with ${names.noTimeout}, or take 2s or more`;
  return { timeoutMs: null, complaint: { origin, key: 'timeout', message } };
}

function isStronger<Layer>(layers: readonly Layer[], a: Layer | undefined, b: Layer): boolean {
  return a !== undefined && layers.indexOf(a) < layers.indexOf(b);
}

/**
 * The times that hold, from the layers, the strongest first.
 *
 * `hungTaskTimeoutMs`: after so long in D state the kernel warns or panics; null when that is off. Nothing may be
 * held longer.
 */
export function resolveFreeze<Origin>(
  layers: readonly FreezeLayer<Origin>[],
  hungTaskTimeoutMs: number | null,
): ResolvedFreeze<Origin> {
  const timeoutLayer = layers.find((layer) => layer.timeoutMs !== undefined || layer.noTimeout === true);
  const maxHoldLayer = layers.find((layer) => layer.maxHoldMs !== undefined);
  const maxHoldMs = maxHoldLayer?.maxHoldMs ?? DEFAULT_MAX_HOLD_MS;
  const { timeoutMs, complaint } = resolveTimeout(timeoutLayer, maxHoldMs);
  const complaints = complaint === undefined ? [] : [complaint];

  const complain = (key: 'timeout' | 'maxHold', message: string): void => {
    complaints.push({ origin: (key === 'timeout' ? timeoutLayer : maxHoldLayer)?.origin, key, message });
  };
  if (maxHoldMs === 0) complain('maxHold', 'a freeze needs some time: take a second or more');
  else if (timeoutLayer !== undefined && timeoutMs !== null && timeoutMs > maxHoldMs) {
    const [timeout, maxHold] = [formatDuration(timeoutMs), formatDuration(maxHoldMs)];
    // Told where it can be mended: at the stronger of the two, which was written over the other.
    if (isStronger(layers, maxHoldLayer, timeoutLayer)) {
      const name = (maxHoldLayer?.names ?? CONFIG_NAMES).timeout;
      complain('maxHold', `${maxHold} is shorter than ${name} (${timeout}): raise this or lower that`);
    } else {
      const name = timeoutLayer.names.maxHold;
      complain('timeout', `${timeout} is longer than ${name} (${maxHold}): raise that or lower this`);
    }
  }
  if (hungTaskTimeoutMs !== null && maxHoldMs > hungTaskTimeoutMs) {
    const message = `${formatDuration(maxHoldMs)} is over the kernel's hung-task limit of ${formatDuration(hungTaskTimeoutMs)} (kernel.hung_task_timeout_secs), after which it warns or panics: take no more`;
    complain('maxHold', message);
  }
  return { settings: { timeoutMs, maxHoldMs }, complaints };
}
