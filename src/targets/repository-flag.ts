import path from 'node:path';
import { FsbackupError } from '../errors.js';
import { hasPassword } from './target.js';

/** What an engine is to be told of as its repository: a path that is relative to the working directory is made absolute. */
export function repositoryFromFlag(named: string): string {
  if (hasPassword(named)) {
    throw new FsbackupError(
      'usage',
      'a password in an address is seen by everybody who looks at the processes',
      {
        hint: 'Write a target with the secret in the configuration: see docs/configuration.md.',
      },
    );
  }
  return named.includes(':') ? named : path.resolve(named);
}
