import { constants } from 'node:fs';
import { chmod, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import { makeDirectories } from '../system/make-directories.js';

const STARTER = `# fsbackup configuration. Check it with: fsbackup config validate
# What is commented out shows its default, or an example.
version: 1

# For all jobs; a job may have its own.
# freeze:
#   timeout: 10s   # thaw when the run gave no sign of life for so long
#   maxHold: 60s   # thaw so long after the freeze, whatever happens
# attempts: 3      # tries of freeze and snapshot, and of a copy that lost its connection

jobs:
#   srv:
#     sources:
#       - path: /srv
#         exclude: ['*.tmp', '/cache/']
#         recursive: false     # true: nested subvolumes and submounts too
#         snapshot: auto       # none: copy the live tree, with no consistency
#     targets:
#       - path: /backup
#         engine: rsync        # or tar
#         mustBeMountpoint: true
#     keep:                    # without it, all backups are kept
#       daily: 7
#       weekly: 4
#       monthly: 12
#     quiesce:
#       - name: database
#         before: [/usr/local/sbin/flush-database]
#         after: [/usr/local/sbin/release-database]
#         timeout: 30s
#     drill:                   # for: fsbackup backups verify --drill
#       command: [/usr/local/sbin/try-database, '{directory}/srv']
#       timeout: 10m
#     schedule: daily          # for: fsbackup schedule install
`;

function cannotWrite(file: string, error: unknown): FsbackupError {
  return new FsbackupError('usage', `${file} cannot be written: ${messageOf(error)}`, {
    hint: 'Run it as root, or name another file with --config.',
    cause: error,
  });
}

async function writeNew(file: string): Promise<void> {
  // O_EXCL: neither a file nor a symlink that appears meanwhile is written through.
  const handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await handle.writeFile(STARTER);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function replace(file: string): Promise<void> {
  const beside = `${file}.${process.pid}.new`;
  try {
    await writeNew(beside);
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

/**
 * Writes a commented configuration with no job in it, mode 0600, its directory made when missing. Rejects with
 * `usage` when the file exists, unless `force`, which replaces it at once and whole.
 */
export async function writeStarter(file: string, { force }: { force: boolean }): Promise<void> {
  try {
    await makeDirectories(path.dirname(file), 0o755);
    await (force ? replace(file) : writeNew(file));
    // The umask can only take away; this is what was promised.
    await chmod(file, 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw cannotWrite(file, error);
    throw new FsbackupError('usage', `${file} exists already`, {
      hint: 'Give --force to replace it, or name another file with --config.',
      cause: error,
    });
  }
}
