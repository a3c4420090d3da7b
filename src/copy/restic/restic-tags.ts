import path from 'node:path';
import * as z from 'zod';
import type { Consistency } from '../../snapshots/provider.js';
import { isBackupId, isJobName } from '../backup/backup-layout.js';
import { CONSISTENCIES } from '../repository/found-backup.js';
import type { ResticSnapshot } from './restic-output.js';

/** That of all snapshots that fsbackup made. */
export const OUR_TAG = 'fsbackup';
const JOB = 'fsbackup-job:';
const RUN = 'fsbackup-run:';
const CONSISTENCY = 'fsbackup-consistency:';

/** The tags that a backup is found by. */
export function resticTags({ job, backupId }: { job: string; backupId: string }): string[] {
  return [OUR_TAG, `${JOB}${job}`, `${RUN}${backupId}`];
}

/** The tag that tells how consistent a backup is. */
export function consistencyTag(consistency: Consistency): string {
  return `${CONSISTENCY}${consistency}`;
}

/** What a snapshot's tags and paths tell of its backup; undefined for one that is none. */
export function backupOfSnapshot(snapshot: ResticSnapshot):
  | {
      job: string;
      backupId: string;
      consistency: Consistency | undefined;
      sources: string[];
    }
  | undefined {
  const valueOf = (prefix: string): string =>
    snapshot.tags?.find((tag) => tag.startsWith(prefix))?.slice(prefix.length) ?? '';
  const [job, backupId] = [valueOf(JOB), valueOf(RUN)];
  if (!isJobName(job) || !isBackupId(backupId)) return undefined;
  return {
    job,
    backupId,
    consistency: z.enum(CONSISTENCIES).safeParse(valueOf(CONSISTENCY)).data,
    sources: snapshot.paths.map((one) => sourceOf(one, job)),
  };
}

/** restic notes where it read: `<run directory>/tree/<job>` and the path on the live system. */
function sourceOf(read: string, job: string): string {
  const marker = `/tree/${job}`;
  const at = `${read}/`.indexOf(`${marker}/`);
  return at === -1 ? '/' : path.join('/', read.slice(at + marker.length));
}
