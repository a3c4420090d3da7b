import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { createBaseStore } from '../copy/filesystem/base-store.js';
import { errnoOf, FsbackupError } from '../errors.js';
import { journalDirectories, readJournal } from '../journal/journal.js';
import type { PlannedSource } from '../plan/plan.js';
import { inOwnDirectory, SNAPSHOT_DIRECTORY_NAME } from '../snapshots/private-directory.js';
import { shellWord } from '../system/command-line.js';
import { readMounts } from '../system/mountinfo.js';
import { visibleMounts } from '../system/submounts.js';
import { warning, type Finding } from './finding.js';

/** What a run names its snapshots: its job, its own id, and a number. */
const SNAPSHOT = /^fsbackup-.+-\d{8}T\d{6}Z-[0-9a-f]{6}-/;
const IMAGE = '.img';

/** Something with the name of a snapshot of ours. */
interface Found {
  path: string;
  /** As journal and records have it. */
  name: string;
  isDirectory: boolean;
}

/** The directories that snapshots of this source would be kept in. */
async function placesOf({ provider, filesystem }: PlannedSource): Promise<string[]> {
  if (provider === 'reflink') return (filesystem.images ?? []).map((image) => path.dirname(image.path));
  if (provider !== 'btrfs') return [];
  const { majorMinor } = filesystem.mount;
  return visibleMounts(await readMounts())
    .filter((mount) => mount.majorMinor === majorMinor)
    .map(({ mountpoint }) => mountpoint);
}

/** What is in these directories; one that two mounts show is read once, and what is not ours is left alone. */
async function readPlaces(places: readonly string[]): Promise<Found[]> {
  const found: Found[] = [];
  const seen = new Set<string>();
  for (const place of places) {
    const directory = path.join(place, SNAPSHOT_DIRECTORY_NAME);
    try {
      await inOwnDirectory(directory, async (own) => {
        const { dev, ino } = await stat(own.path);
        if (seen.has(`${dev}:${ino}`)) return;
        seen.add(`${dev}:${ino}`);
        for (const entry of await readdir(own.path, { withFileTypes: true })) {
          const name = entry.isDirectory() ? entry.name : path.basename(entry.name, IMAGE);
          if (!SNAPSHOT.test(entry.name)) continue;
          found.push({ path: path.join(directory, entry.name), name, isDirectory: entry.isDirectory() });
        }
      });
    } catch (error) {
      // Not ours, or not to be read: a run tells, when it needs it.
      if (!(error instanceof FsbackupError) && errnoOf(error) === undefined) throw error;
    }
  }
  return found;
}

async function readKnown(): Promise<Set<string>> {
  const { entries } = await readJournal(journalDirectories());
  const records = await createBaseStore().list();
  return new Set([
    ...entries.flatMap(({ entry }) => (entry.kind === 'snapshot' ? [entry.payload.name] : [])),
    ...records.flatMap(({ snapshots }) => snapshots.map(({ snapshot }) => snapshot.name)),
  ]);
}

/**
 * Snapshots of ours, by btrfs and by reflink, that neither the journal nor a record of what is kept knows: of a state directory
 * that was lost. Nothing removes them by itself, since another host or container may keep them; they are named, with the
 * command that does. Reads only.
 */
export async function checkUnknownSnapshots(
  source: PlannedSource,
  known: () => Promise<ReadonlySet<string>> = readKnown,
): Promise<Finding[]> {
  const places = await placesOf(source);
  const found = await readPlaces(places);
  if (found.length === 0) return [];
  let names: ReadonlySet<string>;
  try {
    // After them: a run records what it is about to make.
    names = await known();
  } catch {
    // Told of by who looks at what dead runs left.
    return [];
  }
  // Again: a run that ended meanwhile has removed its own before it forgot it.
  const there = new Set((await readPlaces(places)).map((one) => one.path));
  return found
    .filter((one) => !names.has(one.name) && there.has(one.path))
    .map((one) =>
      warning(
        'unknown-snapshot',
        `${one.path} is a snapshot that no record here knows: its room is not freed`,
        {
          detail:
            'Of a state directory that was lost, or of another one (a container, another host), which still needs it: see that first.',
          fix: one.isDirectory
            ? `btrfs subvolume delete ${shellWord(one.path)}`
            : `rm ${shellWord(one.path)}`,
        },
      ),
    );
}
