import { expect, it } from 'vitest';
import type { RecoverReport } from '../../../src/journal/recover-report.js';
import { renderRecover } from '../../../src/journal/render-recover.js';

const thing = { kind: 'snapshot', what: 'snapshot a', job: 'srv', runId: 'r' } as const;

it('tells of each thing in a line, and of what to do', () => {
  const report: RecoverReport = {
    version: 1,
    released: [thing],
    failed: [{ ...thing, message: 'it is busy' }],
    forgotten: [{ ...thing, left: '/a.img on the xfs 1234' }],
    leftAlone: [thing],
    unreadable: [{ file: '/j/x.json', reason: 'it is not JSON' }],
  };
  expect(renderRecover(report).split('\n')).toEqual([
    'released: snapshot a',
    'forgotten: snapshot a; should its storage come back, remove by hand: /a.img on the xfs 1234',
    'left alone, job srv is running: snapshot a',
    'STILL HELD: snapshot a: it is busy',
    'cannot be read: /j/x.json: it is not JSON',
    'Mend what is in the way, then run `fsbackup recover` again.',
    'Look into the files that cannot be read, release by hand what they name, then remove them.',
  ]);
});

it('says so when there is nothing', () => {
  expect(renderRecover({ version: 1, released: [], failed: [], leftAlone: [], unreadable: [] })).toBe(
    'Nothing to recover.',
  );
});
