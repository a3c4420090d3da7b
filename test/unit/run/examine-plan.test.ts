import { expect, it } from 'vitest';
import { FsbackupError } from '../../../src/errors.js';
import { makePlan } from '../../../src/plan/make-plan.js';
import type { Plan } from '../../../src/plan/plan.js';
import { renderPlan } from '../../../src/plan/render-plan.js';
import { examinePlan, exitCodeOfPlans, type Examine } from '../../../src/run/examine-plan.js';
import { planJobs, printable } from '../../../src/run/plan-jobs.js';
import { failure } from '../../support/fake-world.js';
import { aJob, fakeDetectors, hostFacts } from '../../support/plan-facts.js';

function planTo(...paths: string[]): Plan {
  const targets = paths.map((path) => ({ path, engine: 'rsync', mustBeMountpoint: false }) as const);
  return makePlan(aJob({ targets }), hostFacts(), fakeDetectors(), { force: false });
}

/** Of these targets nothing is mounted. */
function gone(...paths: string[]): Examine {
  return ({ path }) =>
    paths.includes(path)
      ? Promise.reject(new FsbackupError('usage', `${path} is not a mountpoint`, { hint: `mount ${path}` }))
      : Promise.resolve();
}

it('is the plan itself where every target can take a backup', async () => {
  const plan = planTo('/b1', '/b2');
  expect(await examinePlan(plan, gone())).toBe(plan);
  expect(exitCodeOfPlans([plan])).toBe(0);
});

it('names a target that can take none, has no copy to it, and exits as the run would', async () => {
  const plan = await examinePlan(planTo('/b1', '/b2'), gone('/b2'));
  expect(plan.failedCopies).toEqual([
    {
      target: '/b2',
      engine: 'rsync',
      error: { code: 'usage', exitCode: 2, message: '/b2 is not a mountpoint', hint: 'mount /b2' },
    },
  ]);
  expect(plan.targets).toHaveLength(2);
  expect(plan.steps.filter(({ step }) => step === 'copy').map(({ detail }) => detail)).toEqual([
    '/srv to /b1 by rsync',
  ]);
  expect(renderPlan(plan)).toContain(
    'No backup could be made in:\n  /b2 by rsync: /b2 is not a mountpoint\n    mount /b2',
  );
  expect(exitCodeOfPlans([planTo('/b1'), plan])).toBe(2);
});

it('fails as the run would where none can', async () => {
  await expect(examinePlan(planTo('/b1', '/b2'), gone('/b1', '/b2'))).rejects.toThrow(
    '/b1 is not a mountpoint',
  );
});

it('does not take a bug for the state of a target', async () => {
  const broken: Examine = () => Promise.reject(new TypeError('x is undefined'));
  await expect(examinePlan(planTo('/b1', '/b2'), broken)).rejects.toThrow(TypeError);
});

it('shows of several jobs each that cannot be run, beside the plans of the others, and exits with the worst', async () => {
  const jobs = ['bad', 'good', 'gone', 'worse'].map((name) =>
    aJob({ name, targets: [{ path: `/${name}`, engine: 'rsync', mustBeMountpoint: false }] }),
  );
  const host = {
    detectors: fakeDetectors(),
    gatherFacts: async ({ name }: { name: string }) => {
      if (name === 'bad') throw failure('notFrozen', '/srv is frozen');
      if (name === 'worse') throw failure('cleanupIncomplete', 'still held');
      return hostFacts();
    },
    examine: gone('/gone'),
    refuseFrozenSources: async () => undefined,
  };
  const plans = await planJobs(jobs, host, { force: false });
  expect(printable(plans)).toMatchObject([
    { version: 1, job: 'bad', error: { code: 'notFrozen', exitCode: 20, message: '/srv is frozen' } },
    { version: 1, job: 'good', consistency: 'filesystem' },
    { job: 'gone', error: { message: '/gone is not a mountpoint' } },
    { job: 'worse' },
  ]);
  const text = plans.map(renderPlan).join('\n');
  expect(text).toContain('Job bad: cannot be run\n  /srv is frozen\n    Mend it.\n');
  expect(text).toContain('Job good: consistency filesystem');
  expect([plans.slice(0, 2), plans.slice(0, 3), plans].map(exitCodeOfPlans)).toEqual([20, 20, 60]);
  await expect(planJobs(jobs.slice(0, 1), host, { force: false })).rejects.toMatchObject({ exitCode: 20 });
});
