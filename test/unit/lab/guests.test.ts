import { describe, expect, it } from 'vitest';
import { findGuest, GUESTS } from '../../../lab/guests.js';

describe('the guests', () => {
  it('cover all that a kernel may do', () => {
    const booted = GUESTS.filter(({ init }) => init === 'script');
    expect(booted.map((guest) => guest.behaviour).toSorted()).toEqual(['leaks', 'nests', 'refuses']);
    expect(GUESTS.filter(({ init }) => init === 'systemd')).toHaveLength(1);
  });

  it('are found by the start of a name', () => {
    expect(findGuest('7').name).toBe('7-backports');
    expect(findGuest('6.12').name).toBe('6.12-zfs');
  });

  it('are found by their name though it starts another', () => {
    expect(findGuest('6.1').name).toBe('6.1');
  });

  it('are named when a name is not one, or several start so', () => {
    expect(() => findGuest('5')).toThrow('6.1, 6.12-zfs, 7-backports, systemd');
    expect(() => findGuest('6')).toThrow('6.1, 6.12-zfs, 7-backports, systemd');
  });
});
