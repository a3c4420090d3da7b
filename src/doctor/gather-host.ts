import { constants } from 'node:fs';
import { access, readdir, readFile, stat } from 'node:fs/promises';
import { release } from 'node:os';
import path from 'node:path';
import { runDirectory, stateDirectory } from '../system/directories.js';
import { readHungTaskTimeoutMs } from '../system/hung-task.js';
import { mountOfPath, readMounts } from '../system/mountinfo.js';
import { readNestedFreeze } from '../system/nested-freeze.js';
import { inInitialPidNamespace } from '../system/pid-namespace.js';
import type { DirectoryState, HostState } from './facts.js';
import { readLeftovers } from './leftovers.js';
import { readTools } from './tools.js';
import { tryGuards } from './try-guards.js';

const GROUP_OR_OTHERS_WRITE = 0o022;

async function canAccess(file: string, mode: number): Promise<boolean> {
  return await access(file, mode).then(
    () => true,
    () => false,
  );
}

async function nearestExisting(directory: string): Promise<string> {
  const exists = await canAccess(directory, constants.F_OK);
  return exists || directory === '/' ? directory : await nearestExisting(path.dirname(directory));
}

async function readDirectory(directory: string): Promise<DirectoryState> {
  const existing = await nearestExisting(directory);
  const { mode, uid } = await stat(existing);
  return {
    path: directory,
    existing,
    fstype: mountOfPath(await readMounts(), existing)?.fstype ?? 'unknown',
    isWritable: await canAccess(existing, constants.W_OK),
    // What is to be made below a sticky /tmp is private once it is made.
    isPrivate:
      existing !== directory ||
      ((mode & GROUP_OR_OTHERS_WRITE) === 0 && [0, process.geteuid?.()].includes(uid)),
  };
}

/** The capabilities of this process; 0 where the kernel does not say. */
async function readCapabilities(): Promise<bigint> {
  const status = await readFile('/proc/self/status', 'utf8');
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
}

async function readFlag(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '0');
  return text.trim() !== '0';
}

async function hasLogicalVolumes(): Promise<boolean> {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('dm-'));
  const uuids = await Promise.all(
    names.map((name) => readFile(`/sys/block/${name}/dm/uuid`, 'utf8').catch(() => '')),
  );
  return uuids.some((uuid) => uuid.startsWith('LVM-'));
}

/** Looks at all of the host that no single filesystem has to do with. Freezes nothing but the self-test's own. */
export async function gatherHost(): Promise<HostState> {
  // First, since it makes the run directory if need be.
  const guards = await tryGuards();
  const [capabilities, nestedFreeze, hungTaskTimeoutMs, hungTaskPanics, tools, leftovers] = await Promise.all(
    [
      readCapabilities(),
      readNestedFreeze(),
      readHungTaskTimeoutMs(),
      readFlag('/proc/sys/kernel/hung_task_panic'),
      readTools(),
      readLeftovers(),
    ],
  );
  return {
    capabilities,
    isRoot: process.geteuid?.() === 0,
    initialPidNamespace: inInitialPidNamespace(),
    guards,
    kernelRelease: release(),
    nestedFreeze,
    hungTaskTimeoutMs,
    hungTaskPanics,
    canExpedite: await canAccess('/sys/kernel/rcu_expedited', constants.W_OK),
    hasLoop: await canAccess('/dev/loop-control', constants.R_OK | constants.W_OK),
    hasLvm: await hasLogicalVolumes(),
    runDirectory: await readDirectory(runDirectory()),
    stateDirectory: await readDirectory(stateDirectory()),
    tools,
    leftovers,
  };
}
