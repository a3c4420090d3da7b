import { expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import { refuseFrozenSources } from '../../../src/run/refuse-unwritable.js';
import { failure } from '../../support/fake-world.js';
import {
  aFilesystem,
  aJob,
  aSource,
  fakeDetectors,
  hostFacts,
  sourceFacts,
} from '../../support/plan-facts.js';

const other = aFilesystem({ majorMinor: '7:2', mountpoint: '/home', source: '/dev/loop2' });
const plan = makePlan(
  aJob({ sources: [aSource(), aSource({ path: '/home' })] }),
  hostFacts({ sources: [sourceFacts(aFilesystem()), sourceFacts(other)] }),
  fakeDetectors(),
  { force: false },
);

/** Which directories are asked, `frozen` looking so. */
async function asked(look: (mountpoint: string) => boolean | undefined): Promise<string[]> {
  const directories: string[] = [];
  await refuseFrozenSources(plan, {
    looksFrozen: async ({ mountpoint }) => look(mountpoint),
    requireAnswer: async (directory) => directories.push(directory),
  });
  return directories;
}

it('asks what looks frozen, and nothing else', async () => {
  expect(await asked(() => false)).toEqual([]);
  expect(await asked(() => undefined)).toEqual([]);
  expect(await asked((mountpoint) => mountpoint === '/home')).toEqual(['/home']);
});

it('fails as the run would where no answer comes', async () => {
  const look = {
    looksFrozen: async () => true,
    requireAnswer: () => Promise.reject(failure('notFrozen')),
  };
  await expect(refuseFrozenSources(plan, look)).rejects.toMatchObject({ exitCode: 20 });
});
