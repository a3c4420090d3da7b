import { campaignIn } from '../chaos/campaign-suite.js';
import { labEnvironment } from '../chaos/campaign/lab-environment.js';
import { describeInLab } from '../support/lab.js';

// Those that continuous integration does each time; more in docs/reliability.md.
const RUNS = 20;
/** About what they take on a machine with a processor for each guest: CI as a whole has an hour, also on a slower one. */
const BUDGET = { ms: 420_000, atLeast: 5 } as const;

describeInLab({}, 'a campaign in a guest', () => {
  campaignIn(labEnvironment(), { runs: RUNS, lanes: 1, goodOneIn: 5, budget: BUDGET, isTold: true });
});
