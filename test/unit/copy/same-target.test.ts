import { expect, it } from 'vitest';
import { catalogueDirectory, type EngineTarget } from '../../../src/backup-target.js';
import type { EngineName } from '../../../src/engine-names.js';
import { isMeantBy } from '../../../src/copy/target/same-target.js';
import { stateDirectory } from '../../../src/system/directories.js';

function repositoryTarget(engine: EngineName, repository: string): EngineTarget {
  const path = catalogueDirectory(engine, repository, stateDirectory());
  return { path, engine, repository: { repository, initialise: false, environment: {} } };
}

it.each([
  ['tank/x', repositoryTarget('zfs-send', 'tank/x'), true],
  ['tank/y', repositoryTarget('zfs-send', 'tank/x'), false],
  ['/srv/restic/', repositoryTarget('restic', '/srv/restic'), true],
  ['/srv/../srv/restic', repositoryTarget('restic', 'local:/srv/restic'), true],
  ['sftp:host:/srv/restic', repositoryTarget('restic', 'sftp:host:/srv/restic'), true],
  ['sftp:other:/srv/restic', repositoryTarget('restic', 'sftp:host:/srv/restic'), false],
  ['rest:https://host/', repositoryTarget('restic', 'rest:https://me:hush@host/'), false],
  ['/backup', { path: '/backup', engine: 'image' }, true],
  ['/backup/x', { path: '/backup', engine: 'image' }, false],
] as const)('%s for %j: %j', async (written, target, expected) => {
  expect(await isMeantBy(written, target)).toBe(expected);
});

it('takes what status tells of an address with a password', async () => {
  const target = repositoryTarget('restic', 'rest:https://me:hush@host/');
  expect(await isMeantBy('rest:https://me:***@host/', target)).toBe(true);
});
