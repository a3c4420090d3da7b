import { execute } from '@oclif/core';
import { packageRoot } from './system/package-root.js';

/** Runs the command that the arguments of this process name. Ends the process. */
export async function main(): Promise<void> {
  // No plugins of the user's: with sudo, code that lies in his home directory would run as root.
  await execute({ loadOptions: { root: packageRoot(), userPlugins: false } });
}
