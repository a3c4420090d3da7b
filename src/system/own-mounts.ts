import path from 'node:path';
import { runDirectory } from './directories.js';

/** Where runs show their snapshots, below it a directory for each job. */
export function snapshotMounts(): string {
  return path.join(runDirectory(), 'mnt');
}

/**
 * A shell's function for a script in a mount namespace of its own: `let_go DIRECTORY` takes away the copies of all mounts
 * below it. A new namespace has a copy of every mount of the machine, and each keeps its filesystem in use: a run that
 * ends meanwhile has unmounted its snapshot, and could not remove it for as long as this program lives.
 */
export const LET_GO = `
let_go() {
  while read -r _ at _; do
    case "$at" in
      "$1"/?*) umount --no-mtab --lazy -- "$at" 2>/dev/null || : ;;
    esac
  done </proc/self/mounts
}
`;

/**
 * Begins the argument array of a shell with `script` in a mount namespace of its own, whose mounts nobody else sees. What is
 * unmounted outside, is in there too where the machine's mounts are shared, as systemd has them
 * (mount_namespaces(7)).
 */
export function inOwnMounts(script: string, name: string): [string, ...string[]] {
  return ['unshare', '--mount', '--propagation', 'slave', '--', 'sh', '-ec', script, name];
}
