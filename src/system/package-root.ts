import { existsSync } from 'node:fs';
import path from 'node:path';

let root: string | undefined;

/**
 * The directory that fsbackup is installed in: the nearest above this module with a package.json. What is built has
 * other modules at other depths than the sources.
 */
export function packageRoot(): string {
  let directory = import.meta.dirname;
  while (root === undefined) {
    if (existsSync(path.join(directory, 'package.json'))) root = directory;
    else if (directory === path.dirname(directory))
      throw new Error('the package.json of fsbackup is missing');
    directory = path.dirname(directory);
  }
  return root;
}
