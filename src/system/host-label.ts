import os from 'node:os';

/** This host's name as part of a file's. */
export function hostLabel(): string {
  return os.hostname().replaceAll(/[^A-Za-z0-9.-]/g, '-');
}
