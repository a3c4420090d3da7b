import { describe, expect, it } from 'vitest';
import { findGuest, GUESTS } from '../../../lab/guests.js';

describe('the guests', () => {
  it('cover all that a kernel may do', () => {
    expect(GUESTS.map((guest) => guest.behaviour).toSorted()).toEqual(['leaks', 'nests', 'refuses']);
  });

  it('are found by the start of a name', () => {
    expect(findGuest('7').name).toBe('7-backports');
    expect(findGuest('6.12').name).toBe('6.12-zfs');
  });

  it('are found by their name though it starts another', () => {
    expect(findGuest('6.1').name).toBe('6.1');
  });

  it('are named when a name is not one, or several start so', () => {
    expect(() => findGuest('5')).toThrow('6.1, 6.12-zfs, 7-backports');
    expect(() => findGuest('6')).toThrow('6.1, 6.12-zfs, 7-backports');
  });
});
