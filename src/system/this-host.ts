import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stateDirectory } from './directories.js';

/** A host as backups tell of it. */
export interface HostIdentity {
  name: string;
  /** Stays when the host is renamed; absent where it has none. Nobody learns the machine-id from it (machine-id(5)). */
  id?: string;
}

/** Begins an id that a state directory keeps. */
const OF_STATE = 'state-';

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

/** What a state directory keeps; undefined where it keeps none, and `mayMake` does not make one, or it cannot be made. */
function keptId(directory: string, mayMake: boolean): string | undefined {
  const file = path.join(directory, 'host-id');
  if (mayMake) {
    try {
      writeFileSync(file, `${OF_STATE}${randomBytes(16).toString('hex')}\n`, { flag: 'wx', mode: 0o600 });
    } catch {
      // It is there; or else the name alone tells.
    }
  }
  const kept = read(file);
  return /^state-[0-9a-f]{32}$/.test(kept) ? kept : undefined;
}

/**
 * This host, by its name and what `machineId` holds; a host that was cloned has an id of its own once that is made anew. A
 * container has no machine-id, and another name each time: it is known by what its state directory keeps, which is made
 * where `mayMake`.
 */
export function thisHost({
  machineId = '/etc/machine-id',
  state = stateDirectory(),
  mayMake = false,
}: { machineId?: string; state?: string; mayMake?: boolean } = {}): HostIdentity {
  const name = os.hostname();
  const text = read(machineId);
  // `uninitialized`, or empty, in an image that was never booted.
  const id = /^[0-9a-f]{32}$/.test(text)
    ? createHmac('sha256', text).update('fsbackup').digest('hex').slice(0, 32)
    : keptId(state, mayMake);
  return id === undefined ? { name } : { name, id };
}

/** Whether a name that changed makes another host of it: one that was cloned has its id, but where that is of a state directory. */
export function isNameTelling({ id }: HostIdentity): boolean {
  return id?.startsWith(OF_STATE) !== true;
}

/** Whether they are one host, perhaps renamed since. Of one without an id the name tells. */
export function isSameHost(one: HostIdentity, other: HostIdentity): boolean {
  return one.id === undefined || other.id === undefined ? one.name === other.name : one.id === other.id;
}
