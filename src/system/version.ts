import { createRequire } from 'node:module';

let version: string | undefined;

/** The version of this fsbackup, from its package.json. */
export function fsbackupVersion(): string {
  // The same distance from src/system and from dist/system.
  version ??= (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
  return version;
}
