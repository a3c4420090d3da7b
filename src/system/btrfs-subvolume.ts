import { describeFailure, runCommand } from './run-command.js';

/** A subvolume as `btrfs subvolume show` tells of it. */
export interface Subvolume {
  uuid: string;
  /** Of what it is a snapshot of; undefined for none. */
  parentUuid: string | undefined;
  /** Of the snapshot that it was received from, set when all of it was there and gone once it is made writable. */
  receivedUuid: string | undefined;
  /** The transaction that changed it last. */
  generation: string;
  isReadOnly: boolean;
}

const TIMEOUT_MS = 60_000;

/** Parses `btrfs subvolume show`; undefined for anything else. Pure. */
export function parseSubvolume(output: string): Subvolume | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^\\s+${name}:\\s*(\\S.*)$`, 'm').exec(output)?.[1]?.trim();
  const uuidOf = (name: string): string | undefined => {
    const value = field(name);
    return value === '-' ? undefined : value;
  };
  const [uuid, generation, flags] = [uuidOf('UUID'), field('Generation'), field('Flags')];
  if (uuid === undefined || generation === undefined) return undefined;
  return {
    uuid,
    parentUuid: uuidOf('Parent UUID'),
    receivedUuid: uuidOf('Received UUID'),
    generation,
    isReadOnly: flags?.split(/[ ,]+/).includes('readonly') === true,
  };
}

/** The subvolume whose root `directory` is; undefined where it is none, or not there. */
export async function readSubvolume(directory: string): Promise<Subvolume | undefined> {
  const shown = await runCommand(['btrfs', 'subvolume', 'show', '--', directory], { timeoutMs: TIMEOUT_MS });
  return shown.exitCode === 0 ? parseSubvolume(shown.stdout) : undefined;
}

/** Deletes a subvolume. Rejects with what `btrfs` said, one clause. */
export async function deleteSubvolume(directory: string): Promise<void> {
  const deleted = await runCommand(['btrfs', 'subvolume', 'delete', '--', directory], { timeoutMs: 300_000 });
  if (deleted.exitCode !== 0) throw new Error(describeFailure('btrfs', deleted));
}
