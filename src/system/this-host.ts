import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import os from 'node:os';

/** A host as backups tell of it. */
export interface HostIdentity {
  name: string;
  /** Stays when the host is renamed; absent where it has none. Nobody learns the machine-id from it (machine-id(5)). */
  id?: string;
}

/** This host, by its name and what `machineId` holds; a host that was cloned has an id of its own once that is made anew. */
export function thisHost(machineId = '/etc/machine-id'): HostIdentity {
  const name = os.hostname();
  let text: string;
  try {
    text = readFileSync(machineId, 'utf8').trim();
  } catch {
    return { name };
  }
  // `uninitialized`, or empty, in an image that was never booted.
  if (!/^[0-9a-f]{32}$/.test(text)) return { name };
  return { name, id: createHmac('sha256', text).update('fsbackup').digest('hex').slice(0, 32) };
}

/** Whether they are one host, perhaps renamed since. Of one without an id the name tells. */
export function isSameHost(one: HostIdentity, other: HostIdentity): boolean {
  return one.id === undefined || other.id === undefined ? one.name === other.name : one.id === other.id;
}
