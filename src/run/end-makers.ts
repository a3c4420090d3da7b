import { resumeDevicesBelow } from '../freeze/resume-devices.js';
import type { SnapshotMakers } from '../journal/end-programs.js';
import { endMarkedPrograms, type EndingOptions } from '../system/marked-programs.js';
import { SNAPSHOT_VARIABLE } from '../system/process-identity.js';

/**
 * Ends what a dead run left making snapshots: a snapshot that is not there yet cannot be removed, and the journal must
 * not forget it meanwhile. A program that had to be killed may have left its origin suspended, and may itself wait for
 * that. Resolves to what is in the way of the release of each, by name: a clause. Rejects as `resumeDevicesBelow` does.
 */
export async function endMakers(
  { owner, snapshots }: SnapshotMakers,
  how?: EndingOptions,
): Promise<Map<string, string>> {
  const marks = { variable: SNAPSHOT_VARIABLE, values: snapshots.map(({ name }) => name) };
  let ended = await endMarkedPrograms(owner, marks, how);
  if (ended.killed) {
    await resumeDevicesBelow([...new Set(snapshots.map(({ mountpoint }) => mountpoint))]);
    if (ended.stuck.length > 0) ended = await endMarkedPrograms(owner, marks, how);
  }
  return new Map(
    ended.stuck.flatMap(({ pid, name, marks: made }) =>
      made.map((one) => [
        one,
        `${name} (pid ${pid}) still makes it and cannot be ended; thaw what it waits for (fsbackup thaw --force MOUNTPOINT)`,
      ]),
    ),
  );
}
