import os from 'node:os';
import { thisHost, type HostIdentity } from './this-host.js';

function asLabel(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9.-]/g, '-');
}

/** This host's name as part of a file's. */
export function hostLabel(): string {
  return asLabel(os.hostname());
}

/** The same of a host whose name others may have, too: `NAME@ID`, the name alone where it has no id. No name has a `@`. */
export function hostMark({ name, id }: HostIdentity = thisHost({ mayMake: true })): string {
  return id === undefined ? asLabel(name) : `${asLabel(name)}@${id.replace(/^state-/, '').slice(0, 16)}`;
}
