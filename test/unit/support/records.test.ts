import { describe, expect, it } from 'vitest';
import { checkRecords, formatRecord, parseAcknowledgement, parseRecords } from '../../support/records.js';

const RECORDS = [1, 2, 3].map((sequence) => formatRecord({ sequence, begunMs: sequence * 1000 }));
const LOG = RECORDS.join('');
const WINDOW = { startMs: 3500, endMs: 3600 };

describe('parseRecords', () => {
  it('reads back what was written', () => {
    expect(parseRecords(LOG)).toEqual({
      records: [1, 2, 3].map((sequence) => ({ sequence, begunMs: sequence * 1000 })),
      damage: [],
    });
  });

  it.each([
    ['a torn end', LOG.slice(0, -10), 'the last record is torn'],
    ['a changed byte', LOG.replace(' 2000 ', ' 2001 '), 'record 2 is damaged'],
    ['a missing record', `${RECORDS[0]}${RECORDS[2]}`, 'record 3 stands where 2 should'],
    ['a hole', `${RECORDS[0]}${'\0'.repeat(900)}\n`, 'record 2 is damaged'],
  ])('finds %s', (_, text, damage) => {
    expect(parseRecords(text).damage).toContainEqual(expect.stringContaining(damage));
  });
});

describe('checkRecords', () => {
  it('accepts a log that ends at the freeze', () => {
    expect(checkRecords(LOG, [{ sequence: 3, acknowledgedMs: 3001 }], WINDOW)).toEqual([]);
  });

  it('misses what was acknowledged before the freeze', () => {
    expect(checkRecords(LOG, [{ sequence: 4, acknowledgedMs: 3400 }], WINDOW)).toEqual([
      'record 4 was acknowledged before the freeze and is missing',
    ]);
  });

  it('does not ask for what was acknowledged later', () => {
    expect(checkRecords(LOG, [{ sequence: 4, acknowledgedMs: 3700 }], WINDOW)).toEqual([]);
  });

  it('finds what was begun after the thaw, as in a copy of the live filesystem', () => {
    const live = LOG + formatRecord({ sequence: 4, begunMs: 4000 });
    expect(checkRecords(live, [], WINDOW)).toEqual(['record 4 was begun after the thaw and is there']);
  });
});

describe('parseAcknowledgement', () => {
  it('reads only acknowledgements', () => {
    expect(parseAcknowledgement('ack 12 1795461447011')).toEqual({
      sequence: 12,
      acknowledgedMs: 1_795_461_447_011,
    });
    expect(parseAcknowledgement('Warning: something')).toBeUndefined();
  });
});
