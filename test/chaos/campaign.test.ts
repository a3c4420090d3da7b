import { describeNeeding } from '../support/capabilities.js';
import { campaignIn } from './campaign-suite.js';
import { ENVIRONMENTS } from './campaign/environments.js';

// Those that continuous integration does each time; more by `npm run chaos` (docs/reliability.md).
const RUNS = 100;
const NEEDS = [
  'root',
  'loop',
  'ext4',
  'xfs',
  'btrfs',
  'program:rsync',
  'program:cc',
  'program:fio',
  'program:sqlite3',
] as const;

describeNeeding(NEEDS, 'a campaign', () => {
  const environment = ENVIRONMENTS['host'];
  if (environment === undefined) throw new Error('no host');
  campaignIn(environment, { runs: RUNS, lanes: 3, goodOneIn: 5 });
});
