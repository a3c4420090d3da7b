import { setTimeout as sleep } from 'node:timers/promises';
import { createBaseStore } from '../copy/filesystem/base-store.js';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { readFreezeStatus } from '../freeze/freeze-status.js';
import { describeEntry } from '../journal/describe-entry.js';
import type { JournalEntry } from '../journal/entry.js';
import { journalDirectories, readJournal } from '../journal/journal.js';
import { isRunning, readProcessIdentity } from '../system/process-identity.js';
import { readSuspendedDevices } from '../system/suspended-devices.js';
import type { LeftoverState } from './facts.js';

/** A snapshot command suspends its origin for a moment: that is none left behind. */
const LOOK_AGAIN_MS = 500;

async function readSuspended(): Promise<string[]> {
  const first = await readSuspendedDevices();
  if (first.length === 0) return [];
  await sleep(LOOK_AGAIN_MS);
  const second = await readSuspendedDevices();
  return first.filter((name) => second.includes(name));
}

function describe(entry: JournalEntry): string {
  return `${describeEntry(entry)} of job ${entry.job}, run ${entry.runId}`;
}

async function readRecorded(): Promise<Omit<LeftoverState, 'suspended'>> {
  const { frozen } = await readFreezeStatus();
  const { entries, unreadable } = await readJournal(journalDirectories());
  const records = await createBaseStore().list();
  const { bootId } = await readProcessIdentity();
  // Taking the job's lock, the only proof, would turn away a run that starts just now.
  const isDead = (entry: JournalEntry): boolean => entry.bootId !== bootId || !isRunning(entry);
  const journalled = entries.flatMap(({ entry }) => (isDead(entry) ? [describe(entry)] : []));
  return {
    frozen: frozen.map(({ mountpoint, guards, owner }) => ({
      mountpoint,
      guards,
      owner: `pid ${owner.pid} (${owner.command})`,
    })),
    journalled,
    unreadable: unreadable.map(({ file, reason }) => `${file}: ${reason}`),
    kept: records.flatMap(({ job, target, snapshots }) =>
      snapshots.map(({ snapshot }) => `${snapshot.name} of ${snapshot.mountpoint}, for ${job} in ${target}`),
    ),
    problem: undefined,
  };
}

/** What is still held of dead runs. Reads only: never a probe, which would freeze. */
export async function readLeftovers(): Promise<LeftoverState> {
  const suspended = await readSuspended();
  try {
    return { suspended, ...(await readRecorded()) };
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof FsbackupError)) throw error;
    return { suspended, frozen: [], journalled: [], unreadable: [], kept: [], problem: messageOf(error) };
  }
}
