import type { ChalkInstance } from 'chalk';

/** What of a stream decides about colours. */
export interface ColourTarget {
  isTTY?: boolean;
}

/**
 * Whether to colour what goes to `stream`: never with a non-empty NO_COLOR (no-color.org); FORCE_COLOR decides next;
 * else a terminal that is not dumb.
 */
export function wantsColour(stream: ColourTarget, env: NodeJS.ProcessEnv): boolean {
  if (env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '') return false;
  const forced = env['FORCE_COLOR'];
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return stream.isTTY === true && env['TERM'] !== 'dumb';
}

/** A chalk for one stream. Sixteen colours: those are what a person's terminal theme makes readable. */
export async function loadChalk(stream: ColourTarget, env: NodeJS.ProcessEnv): Promise<ChalkInstance> {
  // Loaded only when something is rendered: commands that say nothing start faster without it.
  const { Chalk } = await import('chalk');
  return new Chalk({ level: wantsColour(stream, env) ? 1 : 0 });
}
