import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { createRsyncEngine } from '../../src/copy/rsync/rsync-engine.js';
import { createRsyncRemoteEngine } from '../../src/copy/rsync-remote/rsync-remote-engine.js';
import { createTarCommandEngine } from '../../src/copy/command/tar-command-engine.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import { sshTarget, tarCommandTarget } from '../support/repositories.js';
import { SshServer } from '../support/ssh-server.js';
import { restoreInPlaceContract } from './restore-in-place.js';

const TAR = ['program:tar', 'program:zstd'] as const;
let ssh: { server: SshServer; keys: string } | undefined;

afterAll(async () => {
  await ssh?.server.stop();
  if (ssh !== undefined) await rm(ssh.keys, { recursive: true, force: true });
});

restoreInPlaceContract('rsync', async () => createRsyncEngine(), ['program:rsync']);
restoreInPlaceContract('tar', async () => createTarEngine(), TAR);
restoreInPlaceContract('tar-to-a-command', async (at) => createTarCommandEngine(tarCommandTarget(at)), TAR);
restoreInPlaceContract(
  'rsync-over-ssh',
  async (at) => {
    const keys = await mkdtemp(path.join(os.tmpdir(), 'restore-in-place-ssh-'));
    ssh = { keys, server: await SshServer.start(keys) };
    return createRsyncRemoteEngine(sshTarget(ssh.server, at));
  },
  ['program:rsync', 'program:ssh', 'program:sshd'],
);
