import * as z from 'zod';
import type { Consistency } from '../../snapshots/provider.js';
import { isBackupId, isJobName } from '../backup/backup-layout.js';
import type { BorgArchive } from './borg-output.js';
import { CONSISTENCIES } from '../repository/found-backup.js';

/** The name of the archive of a backup. */
export function archiveName({ job, backupId }: { job: string; backupId: string }): string {
  return `${job}-${backupId}`;
}

/** What an archive's comment tells of its backup: borg has no place for it but that. */
export interface ArchiveNote {
  sources: readonly string[];
  consistency: Consistency | undefined;
}

/** Of archives that fsbackup made. */
const COMMENT = 'fsbackup job ';

const note = z.object({
  sources: z.array(z.string().startsWith('/')).min(1),
  consistency: z.enum(CONSISTENCIES).optional(),
});

/** The comment of an archive, as an argument of borg: words for people, then the note. Braces are its placeholders. */
export function commentOf(job: string, { sources, consistency }: ArchiveNote): string {
  return `${COMMENT}${job} ${JSON.stringify({ sources, consistency })}`.replaceAll(/[{}]/g, '$&$&');
}

function noteOf(comment: string): ArchiveNote {
  const json = comment.indexOf('{');
  // One of before there were notes has all that it has below the root.
  const nothing: ArchiveNote = { sources: ['/'], consistency: undefined };
  if (json === -1) return nothing;
  try {
    const { data } = note.safeParse(JSON.parse(comment.slice(json)));
    return data === undefined ? nothing : { ...data, consistency: data.consistency };
  } catch {
    return nothing;
  }
}

/** What an archive tells of its backup; undefined for one that is none, or that was not finished. */
export function backupOfArchive({
  name,
  comment,
}: BorgArchive): (ArchiveNote & { job: string; backupId: string }) | undefined {
  const [, job = '', backupId = ''] = /^(.+)-(\d{8}T\d{6}Z-[0-9a-f]+)$/.exec(name) ?? [];
  if (!isJobName(job) || !isBackupId(backupId) || !comment.startsWith(COMMENT)) return undefined;
  return { job, backupId, ...noteOf(comment) };
}
