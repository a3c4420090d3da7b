import { campaignIn } from '../chaos/campaign-suite.js';
import { labEnvironment } from '../chaos/campaign/lab-environment.js';
import { describeInLab } from '../support/lab.js';

// Those that continuous integration does each time; more in docs/reliability.md.
const RUNS = 20;
/**
 * A quarter of an hour of continuous integration is for campaigns. The host's hundred runs take five minutes of it, three guests,
 * one after the other, the rest: a run that has begun is ended.
 */
const BUDGET = { ms: 180_000, atLeast: 5 } as const;

describeInLab({}, 'a campaign in a guest', ({ share }) => {
  // Where there is no time for all, other ones in each guest.
  const first = share(Array.from({ length: RUNS }, (_, index) => index));
  campaignIn(labEnvironment(), {
    runs: RUNS,
    first,
    lanes: 1,
    goodOneIn: 5,
    budget: BUDGET,
    isTold: true,
  });
});
