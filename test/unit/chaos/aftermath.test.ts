import { describe, expect, it } from 'vitest';
import { warnsOnlyOf } from '../../chaos/aftermath.js';

const AHEAD = '20261127T171020Z-16f267';
const dated = (id: string): string =>
  `chaos: warning: chaos@${id} in /target is dated in the future, by a clock that was wrong or is now: it does not count as the latest`;

describe('what a run warns of', () => {
  it('is of the clock alone where it names nothing but backups that are known to be ahead', () => {
    expect(warnsOnlyOf([AHEAD], `chaos: started\n${dated(AHEAD)}\nchaos: release 1.9 s\n`)).toBe(true);
    expect(warnsOnlyOf([], dated(AHEAD))).toBe(false);
    expect(warnsOnlyOf([AHEAD], dated('20261127T171021Z-000000'))).toBe(false);
    expect(warnsOnlyOf([AHEAD], `${dated(AHEAD)}\nchaos: warning: something else`)).toBe(false);
    expect(warnsOnlyOf([AHEAD], `chaos: warning: chaos@${AHEAD} in /target failed its full verify`)).toBe(
      false,
    );
    expect(warnsOnlyOf([AHEAD], 'chaos: release 1.9 s')).toBe(false);
  });
});
