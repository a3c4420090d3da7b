import { describe, expect, it } from 'vitest';
import { crontabLines } from '../../../src/schedule/crontab-lines.js';
import { aJob } from '../../support/plan-facts.js';

const FACTS = { program: ['/usr/bin/fsbackup'], configFile: undefined, directories: {} };
const RUN = 'root /usr/bin/fsbackup run --quiet --lock-wait 6h srv-db';

function linesOf(calendar: string | undefined): string[] {
  return crontabLines({ job: aJob({ name: 'srv-db' }), calendar }, FACTS);
}

describe('a line for cron', () => {
  it.each([
    [undefined, '30 2 * * *'],
    ['weekly', '@weekly'],
    ['22:05', '5 22 * * *'],
    ['*-*-* 04:00:00', '0 4 * * *'],
    ['Mon,Thu 03:30', '30 3 * * 1,4'],
    ['Mon..Fri,Sun *-*-* 22:00', '0 22 * * 1-5,7'],
  ])('has the time of %j', (calendar, when) => {
    expect(linesOf(calendar)).toEqual([`${when} ${RUN}`]);
  });

  it.each([
    'Mon *-*-01..07 03:30',
    '*-*-* 04:00:30',
    'Sat..Mon 22:00',
    'Mon..Tue..Wed 22:00',
    'Someday 22:00',
    '24:00',
    '02:30 Europe/Berlin',
  ])('has another time than %j, and says so', (calendar) => {
    expect(linesOf(calendar)).toEqual([
      `# srv-db: write "${calendar}" in cron's words; here it is each day at 02:30`,
      `30 2 * * * ${RUN}`,
    ]);
  });
});

describe('a line for a run and a state directory of their own', () => {
  it('names them, else cron has other locks and another history', () => {
    const facts = { ...FACTS, directories: { FSBACKUP_STATE_DIR: '/srv/50% state' } };
    expect(crontabLines({ job: aJob({ name: 'srv-db' }), calendar: 'daily' }, facts)).toEqual([
      String.raw`@daily root FSBACKUP_STATE_DIR='/srv/50\% state' /usr/bin/fsbackup run --quiet --lock-wait 6h srv-db`,
    ]);
  });
});
