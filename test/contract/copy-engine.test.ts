import path from 'node:path';
import { createBorgEngine } from '../../src/copy/borg-engine.js';
import { createResticEngine } from '../../src/copy/restic-engine.js';
import { createRsyncEngine } from '../../src/copy/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar-engine.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { copyEngineContract } from './copy-engine.js';

for (const fstype of ['ext4', 'xfs'] as const) {
  copyEngineContract(
    () => createRsyncEngine(),
    {
      name: 'rsync',
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
      const { target, run } = resticRepository(path.join(storage, 'restic'));
      return createResticEngine(target, { run, treeDirectory: path.join(storage, 'tree') });
    },
    {
      name: 'restic',
      keepsSockets: false,
      // None before 0.15, and since then not those within a chunk.
      keepsHoles: false,
      keepsLinkedSymlinks: false,
      keepsAllTimes: true,
      takesDigests: false,
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
