import { readlinkSync } from 'node:fs';

/** Inode of the initial PID namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO). */
const INITIAL = 'pid:[4026531836]';

/** What to tell of a freeze that is made elsewhere. */
export const PID_NAMESPACE_WARNING =
  'in a PID namespace of its own (a container): its end would kill the watchdogs too, and leave frozen what is frozen';

/** True outside any container's PID namespace: no process can end with it but with the machine. */
export function inInitialPidNamespace(): boolean {
  return readlinkSync('/proc/self/ns/pid') === INITIAL;
}
