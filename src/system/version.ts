import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from './package-root.js';

let version: string | undefined;

/** The version of this fsbackup, from its package.json. */
export function fsbackupVersion(): string {
  const file = path.join(packageRoot(), 'package.json');
  version ??= (createRequire(import.meta.url)(file) as { version: string }).version;
  return version;
}
