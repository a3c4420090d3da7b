import { Flags } from '@oclif/core';
import { MAX_DURATION_MS, parseDurationOrSeconds } from './config/duration.js';
import type { Overrides } from './config/overrides.js';
import { FsbackupError } from './errors.js';
import { isFreezeId } from './freeze/freeze-id.js';

/** A flag whose value is a duration: seconds, or a number with its unit. */
export function durationFlag(summary: string) {
  return Flags.custom<number>({
    summary,
    helpValue: 'SECONDS',
    parse: async (text) => {
      const ms = parseDurationOrSeconds(text);
      if (ms !== undefined && ms <= MAX_DURATION_MS) return ms;
      throw new FsbackupError(
        'usage',
        ms === undefined
          ? `"${text}" is not a duration`
          : `"${text}" is too long: 24 days (576h) are the most`,
        { hint: 'Give seconds, or a number with its unit, such as 500ms, 10s or 5m.' },
      );
    },
  })();
}

/** Which freeze of the mountpoints is meant, by what `freeze` told of it. */
export const freezeIdFlag = Flags.custom({
  summary: 'That freeze alone, by the id that `freeze` told: exits 21 when another one is held by now.',
  helpValue: 'ID',
  parse: async (text) => {
    if (isFreezeId(text)) return text;
    throw new FsbackupError('usage', `"${text}" is not the id of a freeze`, {
      hint: 'Give the freezeId that `fsbackup freeze --json` told; `fsbackup status --json` shows those that are held.',
    });
  },
});

/** The dead-man's times, for every command that freezes. */
export const freezeFlags = {
  timeout: durationFlag('Thaw when no reset came for so long; 0 or 1: never, which also needs --no-timeout.'),
  'max-hold': durationFlag('Thaw so long after the freeze, resets or not.'),
  'no-timeout': Flags.boolean({ summary: 'Freeze without a timeout, up to --max-hold.' }),
};

/** The flags above, parsed; a command may have only some of them. */
interface ParsedFreezeFlags {
  timeout?: number | undefined;
  'max-hold'?: number | undefined;
  'no-timeout'?: boolean | undefined;
}

/** What was given of them. */
export function freezeOverrides(flags: ParsedFreezeFlags): Overrides {
  return {
    ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
    ...(flags['max-hold'] === undefined ? {} : { maxHoldMs: flags['max-hold'] }),
    ...(flags['no-timeout'] === true ? { noTimeout: true } : {}),
  };
}
