import { describe, expect, it } from 'vitest';
import type { InterruptedBackup } from '../../../src/copy/backup/interrupted-backup.js';
import { judgeInterrupted } from '../../../src/retention/interrupted.js';

const NOW = new Date('2026-11-26T00:00:00Z');

function kept(changes: Partial<InterruptedBackup> = {}): InterruptedBackup {
  const directory = `/backup/srv/.incomplete-${changes.host ?? 'here'}`;
  return {
    target: '/backup',
    job: 'srv',
    backupId: '20261120T010000Z-aaaaaa',
    startedAt: '2026-11-20T01:00:00.000Z',
    directory,
    host: 'here',
    place: 'here',
    ...changes,
  };
}

function judged(changes: Partial<InterruptedBackup>, isAsked = false): string {
  const [verdict] = judgeInterrupted([kept(changes)], { host: 'here', now: NOW, isAsked });
  return `${verdict?.action}: ${verdict?.reason}`;
}

const OLD = '2026-08-20T01:00:00.000Z';

describe('what is kept of a broken-off copy', () => {
  it('stays for the next run, and goes when none has come for a long time', () => {
    expect(judged({})).toBe('keep: the next run of srv on here goes on from it; --interrupted removes it');
    expect(judged({ startedAt: '2026-08-29T01:00:00.000Z' })).toMatch(/^keep/);
    expect(judged({ startedAt: OLD })).toBe('remove: no run of srv has gone on from it for 90 days');
    expect(judged({ startedAt: '2027-01-01T00:00:00.000Z' })).toMatch(/^keep/);
  });

  it('goes when somebody asks for it', () => {
    expect(judged({}, true)).toBe('remove: --interrupted asks for it');
  });

  it('of another host goes only when somebody asks for it', () => {
    expect(judged({ host: 'there', startedAt: OLD })).toMatch(/^keep: the next run of srv on there/);
    expect(judged({ host: 'there' }, true)).toMatch(/^remove/);
  });

  it('at the other end is not removed here, and it is said where', () => {
    for (const isAsked of [false, true]) {
      const said = judged({ place: 'there', startedAt: OLD }, isAsked);
      expect(said).toMatch(/^keep: .*to be removed there, as srv\/\.incomplete-here\*$/);
    }
  });

  it('whose removal was cut short goes, whatever it was', () => {
    expect(judged({ host: 'there', directory: '/backup/srv/.incomplete-there+removing' })).toMatch(/^remove/);
  });
});
