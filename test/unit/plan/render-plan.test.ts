import { expect, it } from 'vitest';
import { makePlan } from '../../../src/plan/make-plan.js';
import { renderPlan } from '../../../src/plan/render-plan.js';
import { aJob, fakeDetectors, hostFacts } from '../../support/plan-facts.js';

it('shows a plan to people: modes, reasons, what is frozen and for how long, steps, warnings', () => {
  const plan = makePlan(aJob(), hostFacts({ initialPidNamespace: false }), fakeDetectors(), { force: false });
  expect(renderPlan(plan)).toMatchInlineSnapshot(`
    "Job srv: consistency filesystem, at one instant, 3 attempts
    Snapshots:
      /srv (ext4 on /dev/loop1): snapshot by reflink, freeze explicit
        why: it offers explicit
        consistency: filesystem
    Trees:
      /srv from /srv
    Frozen together:
      /srv: timeout 10 s, reset every 5 s, max-hold 60 s
    Steps:
        lock       job srv, /backup
        recover    what dead runs left
        preflight  rsync to /backup
        sync       /srv
      * freeze     /srv; timeout 10 s, reset every 5 s, max-hold 60 s
      * snapshot   /srv by reflink
      * thaw       /srv
        expose     /srv, read-only
        copy       /srv to /backup by rsync
        remove     the snapshots of /srv
        record     in the history
      (* while frozen)
    Warnings:
      in a PID namespace of its own (a container): its end would kill the watchdogs too, and leave frozen what is frozen"
  `);
});
