import { campaignIn } from '../chaos/campaign-suite.js';
import { labEnvironment } from '../chaos/campaign/lab-environment.js';
import { describeInLab } from '../support/lab.js';

// Those that continuous integration does each time; more in docs/reliability.md.
const RUNS = 20;

describeInLab({}, 'a campaign in a guest', () => {
  campaignIn(labEnvironment(), { runs: RUNS, lanes: 1, atLeastGood: RUNS / 5, isTold: true });
});
