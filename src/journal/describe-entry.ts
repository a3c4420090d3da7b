import type { HeldKind, JournalEntry, Payload } from './entry.js';

function inTarget({ backupId, repository, target }: Payload<'backup'> | Payload<'removal'>): string {
  return `${backupId} in ${repository ?? target}`;
}

const DESCRIBE: { readonly [K in HeldKind]: (payload: Payload<K>) => string } = {
  quiesce: ({ name }) => `application ${name}`,
  exposure: (payload) => `mount ${payload.path}`,
  'pool-metadata': ({ device }) => `kept metadata of the thin pool ${device}`,
  snapshot: ({ name }) => `snapshot ${name}`,
  backup: (payload) => `incomplete backup ${inTarget(payload)}`,
  drill: ({ directory }) => `restore drill ${directory}`,
  staging: ({ directory }) => `what a restore staged in ${directory}`,
  'restore-links': ({ destination }) => `temporary names of a restore in ${destination}`,
  'scratch-pool': ({ pool }) => `pool ${pool} that a restore received into`,
  removal: (payload) => `half-removed backup ${inTarget(payload)}`,
};

function describe<K extends HeldKind>(kind: K, payload: Payload<K>): string {
  return DESCRIBE[kind](payload);
}

/** Names the held thing of an entry to people. Pure. */
export function describeEntry(entry: JournalEntry): string {
  return describe(entry.kind, entry.payload);
}
