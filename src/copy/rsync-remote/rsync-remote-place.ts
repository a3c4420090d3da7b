import { targetName, type BackupTarget, type RepositorySettings } from '../../backup-target.js';
import { FsbackupError } from '../../errors.js';
import { parseSshPlace, type SshPlace } from '../../system/ssh-place.js';

function usage(message: string, hint: string): FsbackupError {
  return new FsbackupError('usage', message, { hint });
}

/**
 * The program, with its arguments, that rsync reaches the other host by: the text of RSYNC_RSH. Throws `usage` where that is a
 * secret.
 */
export function remoteShell({ environment }: RepositorySettings): string {
  const shell = environment['RSYNC_RSH'] ?? 'ssh';
  if (typeof shell === 'string') return shell;
  throw usage(
    'RSYNC_RSH is no secret: it is among the arguments that everybody sees',
    'Write it as a text; keys belong into files that it names.',
  );
}

/** Where a target of another host lies. Throws `usage` for what is none, or has settings that rsync does not know. */
export function remotePlaceOf(target: BackupTarget): SshPlace {
  const { repository } = target;
  const place = repository === undefined ? undefined : parseSshPlace(repository.repository);
  if (repository === undefined || place === undefined) {
    throw usage(
      `${targetName(target)} is no directory that rsync can reach by ssh`,
      'Write it as ssh://user@host/srv/backups or user@host:/srv/backups, with an absolute path.',
    );
  }
  if (repository.password !== undefined || repository.options !== undefined) {
    throw usage(
      `${targetName(target)}: rsync knows no password and no options`,
      'ssh comes in with a key: name it in ~/.ssh/config of root, or in RSYNC_RSH of `environment`.',
    );
  }
  return place;
}
