import type { EngineTarget } from '../../backup-target.js';

/** borg(1), "Repository URLs": another host is named before a colon, or in a URL of ssh. All else is a path of this one. */
function isOfAnotherHost(repository: string): boolean {
  return repository.startsWith('ssh://') || /^[^/:]+:(?!\/\/)/.test(repository);
}

/** Why an engine cannot hold a limit of what goes to this target, and what can be done; undefined: it can. Pure. */
export function whyUnlimitable({
  engine,
  repository,
}: EngineTarget): { message: string; hint: string } | undefined {
  if (engine === 'command') {
    return {
      message: 'what its command copies does not pass through fsbackup',
      hint: 'Leave `limit` out and have the command itself hold it (curl --limit-rate, rclone --bwlimit), or take engine: tar with commands.write.',
    };
  }
  if (engine === 'borg' && !isOfAnotherHost(repository?.repository ?? '')) {
    return {
      message:
        'borg limits what it sends to another host, and not what it writes to a repository of this one',
      hint: 'Leave `limit` out, or take engine: restic, which can do that.',
    };
  }
  return undefined;
}
