import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import type { CopyEngine } from '../../src/copy/engine.js';
import { createCommandEngine } from '../../src/copy/command/command-engine.js';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { createRsyncRemoteEngine } from '../../src/copy/rsync-remote/rsync-remote-engine.js';
import { createTarCommandEngine } from '../../src/copy/command/tar-command-engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import {
  borgRepository,
  commandTarget,
  resticRepository,
  sshTarget,
  tarCommandTarget,
} from '../support/repositories.js';
import { SshServer } from '../support/ssh-server.js';
import { copyEngineContract, copyEnginePathsContract } from './copy-engine.js';

let ssh: SshServer | undefined;
let keys = '';

beforeAll(async () => {
  keys = await mkdtemp(path.join(os.tmpdir(), 'copy-engine-ssh-'));
  ssh = await SshServer.start(keys);
});
afterAll(async () => {
  await ssh?.stop();
  await rm(keys, { recursive: true, force: true });
});

for (const fstype of ['ext4', 'xfs'] as const) {
  copyEngineContract(
    () => createRsyncEngine(),
    {
      name: 'rsync',
      keepsIn: 'path',
      keepsSockets: true,
      keepsHoles: true,
      keepsLinkedSymlinks: true,
      keepsAllTimes: true,
      takesDigests: true,
      needs: ['program:rsync'],
    },
    fstype,
  );
  copyEngineContract(
    () => createTarEngine(),
    {
      name: 'tar',
      keepsIn: 'path',
      keepsSockets: false,
      keepsHoles: true,
      keepsLinkedSymlinks: true,
      keepsAllTimes: true,
      takesDigests: true,
      needs: ['program:tar', 'program:zstd'],
    },
    fstype,
  );
  copyEngineContract(
    (storage) => {
      const { target, run } = resticRepository(path.join(storage, 'restic'), { isMade: false });
      return createResticEngine(target, { run, treeDirectory: path.join(storage, 'tree') });
    },
    {
      name: 'restic',
      keepsIn: 'repository',
      keepsSockets: false,
      // None before 0.15, and since then not those within a chunk.
      keepsHoles: false,
      keepsLinkedSymlinks: false,
      keepsAllTimes: true,
      takesDigests: false,
      prepareStorage: (storage) => resticRepository(path.join(storage, 'restic')),
      needs: ['program:restic'],
    },
    fstype,
  );
  copyEngineContract(
    (storage) => {
      const { target, run } = borgRepository(path.join(storage, 'borg'));
      return createBorgEngine(target, { run, treeDirectory: path.join(storage, 'tree') });
    },
    {
      name: 'borg',
      keepsIn: 'repository',
      keepsSockets: false,
      keepsHoles: false,
      keepsLinkedSymlinks: false,
      keepsAllTimes: false,
      takesDigests: false,
      needs: ['program:borg'],
    },
    fstype,
  );
}

function createOverSsh(storage: string): CopyEngine {
  return createRsyncRemoteEngine(sshTarget(ssh, path.join(storage, 'remote')));
}

function createToCommand(storage: string): CopyEngine {
  return createTarCommandEngine(tarCommandTarget(path.join(storage, 'given')));
}

function createCommand(storage: string): CopyEngine {
  return createCommandEngine(commandTarget(path.join(storage, 'given')), {
    treeDirectory: path.join(storage, 'tree'),
  });
}

const OVER_SSH = ['program:rsync', 'program:ssh', 'program:sshd', 'program:ssh-keygen'] as const;
const TO_COMMAND = ['program:tar', 'program:zstd'] as const;

copyEngineContract(
  createOverSsh,
  {
    name: 'rsync',
    variant: 'over ssh',
    keepsIn: 'repository',
    keepsSockets: true,
    keepsHoles: true,
    keepsLinkedSymlinks: true,
    keepsAllTimes: true,
    takesDigests: true,
    needs: OVER_SSH,
  },
  // What is at the other end is another rsync: the kind of filesystem makes no difference that the local one has not shown.
  'ext4',
);

copyEngineContract(
  createToCommand,
  {
    name: 'tar',
    variant: 'to a command',
    keepsIn: 'repository',
    keepsSockets: false,
    keepsHoles: true,
    keepsLinkedSymlinks: true,
    keepsAllTimes: true,
    takesDigests: true,
    makesRepositories: false,
    needs: TO_COMMAND,
  },
  'ext4',
);

copyEngineContract(
  createCommand,
  {
    name: 'command',
    keepsIn: 'repository',
    keepsSockets: false,
    keepsHoles: true,
    keepsLinkedSymlinks: false,
    keepsAllTimes: true,
    takesDigests: false,
    takesPatterns: false,
    tellsVersions: false,
    makesRepositories: false,
    needs: ['program:rsync'],
  },
  'ext4',
);

for (const [create, traits] of [
  [createOverSsh, { name: 'rsync', variant: 'over ssh', needs: OVER_SSH }],
  [createToCommand, { name: 'tar', variant: 'to a command', needs: TO_COMMAND }],
  [createCommand, { name: 'command', needs: ['program:rsync'] }],
] as const)
  copyEnginePathsContract(create, traits, 'xfs');
