import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { BackupTarget, RepositorySettings } from '../../src/backup-target.js';
import type { TargetCommands } from '../../src/target-commands.js';
import type { SshServer } from './ssh-server.js';
import { CHILD_PATH, runCommand } from '../../src/system/run-command.js';
import { makeQuickResticRepository } from './quick-restic-repository.js';

/** A directory with other versions of the tools: FSBACKUP_TEST_TOOLS. Before those of the host. */
const PATH = [process.env['FSBACKUP_TEST_TOOLS'] ?? [], CHILD_PATH].flat().join(':');

/** Runs what FSBACKUP_TEST_TOOLS has in place of the host's own. */
export const runTool: typeof runCommand = (argv, options) =>
  runCommand(argv, { ...options, env: { ...options?.env, PATH } });

/** A file that holds a secret, for its owner alone. */
export function secretFile(file: string, secret: string): string {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  return file;
}

/** Of the repositories that are made here. */
export const REPOSITORY_PASSWORD = 'a password that nobody sees';

/**
 * A target whose restic repository is at `repository`; its key lies beside it. It is made at once, since restic takes many
 * seconds for that; or, where `isMade` is false, it may be made by whoever uses it.
 */
export function resticRepository(
  repository: string,
  { isMade = true }: { isMade?: boolean } = {},
): { target: BackupTarget; run: typeof runCommand } {
  if (isMade && !existsSync(path.join(repository, 'config')))
    makeQuickResticRepository(repository, REPOSITORY_PASSWORD);
  return {
    target: {
      path: '/unused',
      repository: {
        repository,
        initialise: true,
        password: { file: secretFile(`${repository}.key/key`, REPOSITORY_PASSWORD) },
        // Elsewhere than the repository: restic 0.14 hangs when the disk of its cache is full.
        environment: { RESTIC_CACHE_DIR: path.join(os.tmpdir(), 'fsbackup-test-restic-cache') },
      },
    },
    run: runTool,
  };
}

/** As `resticRepository`, of borg. */
export function borgRepository(repository: string): { target: BackupTarget; run: typeof runCommand } {
  const own = path.join(os.tmpdir(), 'fsbackup-test-borg');
  return {
    target: {
      path: '/unused',
      repository: {
        repository,
        initialise: true,
        password: { file: secretFile(`${repository}.key/key`, REPOSITORY_PASSWORD) },
        // A quarter of its time goes to a test of itself, each time that it is started.
        environment: { BORG_BASE_DIR: own, BORG_SELFTEST: 'disabled' },
      },
    },
    run: runTool,
  };
}

/** A target whose backups lie in `directory`, and are reached by ssh all the same. */
export function sshTarget(ssh: SshServer | undefined, directory: string): BackupTarget {
  if (ssh === undefined) throw new Error('there is no sshd');
  return {
    path: '/unused',
    repository: {
      repository: `ssh://root@127.0.0.1:${ssh.port}${directory}`,
      initialise: true,
      environment: { RSYNC_RSH: ssh.client },
    },
  };
}

/** A target that an archive is given to, and that stores it as a file in `directory`. */
export function tarCommandTarget(directory: string, commands: TargetCommands = {}): BackupTarget {
  const file = path.join(directory, '{name}.tar.zst');
  const sh = (script: string): string[] => ['sh', '-ec', script, 'sh', file, directory];
  return {
    path: path.join(directory, 'catalogue'),
    repository: {
      repository: 'given away',
      initialise: false,
      environment: {},
      commands: {
        write: sh('mkdir -p "$2"; cat >"$1"'),
        read: sh('cat "$1"'),
        remove: sh('rm -f "$1"'),
        ...commands,
      },
    },
  };
}

/** A target whose backups a script keeps in `directory`. */
export function commandTarget(directory: string, more: Partial<RepositorySettings> = {}): BackupTarget {
  const script = path.resolve(import.meta.dirname, '../fixtures/engine-command');
  const run = (what: string): string[] => ['bash', script, what, directory, '{name}'];
  return {
    path: path.join(directory, 'catalogue'),
    repository: {
      repository: 'a script',
      initialise: false,
      environment: {},
      commands: {
        copy: run('copy'),
        restore: run('restore'),
        list: run('list'),
        verify: run('verify'),
        remove: run('remove'),
      },
      exitCodes: { partial: 23 },
      ...more,
    },
  };
}
