import { campaignIn } from '../chaos/campaign-suite.js';
import { labEnvironment } from '../chaos/campaign/lab-environment.js';
import { describeInLab } from '../support/lab.js';

// Those that continuous integration does each time; more in docs/reliability.md.
const RUNS = 20;
/** For all guests a quarter of an hour of continuous integration, one after the other: on a quiet machine about what they take. */
const BUDGET = { ms: 300_000, atLeast: 5 } as const;

describeInLab({}, 'a campaign in a guest', () => {
  campaignIn(labEnvironment(), { runs: RUNS, lanes: 1, goodOneIn: 5, budget: BUDGET, isTold: true });
});
