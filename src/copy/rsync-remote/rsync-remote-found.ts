import { stat } from 'node:fs/promises';
import os from 'node:os';
import type { CopyRequest, CopyResult } from '../engine.js';
import type { FoundBackup } from '../repository/found-backup.js';
import type { RemoteBackup } from './rsync-remote-listing.js';
import { formatNote, type RemoteNote } from './rsync-remote-note.js';

/** The text of the note of what was just copied, by this host. */
export async function noteOf(
  { backup, consistency, sources, digests: wanted }: CopyRequest,
  { files, bytes, unreadable, digests }: CopyResult,
): Promise<string> {
  return formatNote({
    backup,
    host: os.hostname(),
    completedAt: new Date().toISOString(),
    consistency,
    sources: sources.map((source) => source.path),
    files,
    bytes,
    unreadable,
    digests:
      digests === undefined || wanted === undefined
        ? undefined
        : { ...digests, sizeBytes: (await stat(wanted.file)).size },
  });
}

function usable({ note }: RemoteBackup): RemoteNote | undefined {
  return note === undefined || 'problem' in note ? undefined : note;
}

/** How large the list of its digests is; undefined where there is none. */
export function listBytesOf(remote: RemoteBackup): number | undefined {
  return usable(remote)?.digests?.sizeBytes;
}

/** What is known of a tree without a note: when it was begun, and all that lies in it. */
function withoutNote({
  job,
  backupId,
  begunAt,
  top,
  note,
}: RemoteBackup): Omit<FoundBackup, 'writeReference'> {
  const why =
    note === undefined
      ? 'no note lies beside it, as with those of an fsbackup of before there were any'
      : `the note beside it cannot be used: ${'problem' in note ? note.problem : ''}`;
  return {
    job,
    backupId,
    host: '',
    completedAt: begunAt.toISOString(),
    // Not `/`: a restore of that gives it the owner and the mode of a directory that may never have been it.
    sources: top,
    consistency: undefined,
    files: undefined,
    bytes: undefined,
    doubts: [`${why}: its sources are whatever is in it, its time is that of its beginning`],
  };
}

/** What the other host tells of a backup. */
export function foundBackupOf(remote: RemoteBackup): Omit<FoundBackup, 'writeReference'> {
  const note = usable(remote);
  if (note === undefined) return withoutNote(remote);
  const { job, backupId, host, completedAt, sources, consistency, files, bytes, unreadable } = note;
  if (note.digests === undefined)
    return { job, backupId, host, completedAt, sources, consistency, files, bytes, unreadable };
  const { sizeBytes: _, ...digests } = note.digests;
  return { job, backupId, host, completedAt, sources, consistency, files, bytes, unreadable, digests };
}
