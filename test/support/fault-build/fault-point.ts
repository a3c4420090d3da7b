import { appendFileSync } from 'node:fs';
import os from 'node:os';
import process from 'node:process';

// Stands in for src/system/fault-point.ts in the bundle of `buildWithFaults`. Everything is synchronous: what happens
// at a boundary happens there, and an event loop that hangs is one of the faults.

/** What is done at a boundary: `NAME=kill`, `NAME=stop`, `NAME=fail:EIO`, `NAME=delay:MILLISECONDS`. */
interface Fault {
  action: string;
  argument: string;
}

function faultsOf(text: string): Map<string, Fault> {
  const faults = new Map<string, Fault>();
  for (const part of text.split(',').filter((one) => one !== '')) {
    const [name = '', what = ''] = part.split('=');
    const [action = '', argument = ''] = what.split(':');
    faults.set(name, { action, argument });
  }
  return faults;
}

function systemError(name: string, code: string): Error {
  const errno = (os.constants.errno as Readonly<Record<string, number>>)[code];
  if (errno === undefined) throw new TypeError(`no errno ${code}`);
  return Object.assign(new Error(`${code}: made to fail at ${name}`), { code, errno: -errno });
}

export function faultPoint(name: string): void {
  const { FSBACKUP_FAULT: text = '', FSBACKUP_FAULT_TRACE: trace = '' } = process.env;
  // Before the action: some have no afterwards.
  if (trace !== '') appendFileSync(trace, `${name}\n`);
  const fault = faultsOf(text).get(name);
  if (fault === undefined) return;
  if (fault.action === 'fail') throw systemError(name, fault.argument);
  if (fault.action === 'delay')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(fault.argument));
  else process.kill(process.pid, fault.action === 'kill' ? 'SIGKILL' : 'SIGSTOP');
}

export function watchdogEnvironment(): Record<string, string> {
  const { FSBACKUP_FAULT = '', FSBACKUP_FAULT_TRACE = '' } = process.env;
  return { FSBACKUP_FAULT, FSBACKUP_FAULT_TRACE };
}
