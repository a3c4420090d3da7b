import { describe, expect, it } from 'vitest';
import { linkingFrom, takenAt } from '../../../src/copy/rsync/rsync-linking.js';

describe('how unchanged files are linked', () => {
  const now = new Date('2026-11-27T12:00:00Z');
  const tree = (id?: string): Parameters<typeof linkingFrom>[0][number] => ({
    directory: `/${id}`,
    takenAt: takenAt(id),
  });
  const [old, last] = ['20261125T010000Z-1a2b3c', '20261126T010000Z-1a2b3c'];

  it('looks at what changed since the oldest of what is linked from', () => {
    expect(linkingFrom([tree(last), tree(old)], { byContent: false, now })).toEqual({
      from: [`/${last}`, `/${old}`],
      byContent: false,
      since: new Date('2026-11-25T01:00:00Z'),
    });
  });

  it('looks at nothing where nothing is linked', () => {
    expect(linkingFrom([], { byContent: false, now })).toEqual({ from: [], byContent: false });
  });

  it.each([
    ['a time that nobody knows', [tree(old), tree(undefined)], false],
    ['an id that tells none', [tree('99999999T999999Z-1a2b3c')], false],
    ['a time that is still to come', [tree('20261127T120001Z-1a2b3c'), tree(old)], false],
    ['a parent that is doubtful', [tree(old)], true],
  ])('reads all after %s', (_, trees, byContent) => {
    expect(linkingFrom(trees, { byContent, now })).toMatchObject({ byContent: true, since: undefined });
  });
});
