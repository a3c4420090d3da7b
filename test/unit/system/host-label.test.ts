import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { hostLabel, hostMark } from '../../../src/system/host-label.js';

describe('a host as part of the name of a file', () => {
  it('is another one for each of those that have one name', () => {
    const marks = [
      { name: 'localhost', id: '0123456789abcdef0123456789abcdef' },
      { name: 'localhost', id: `state-${'5'.repeat(32)}` },
      { name: 'localhost' },
      { name: 'a/b c' },
    ].map((host) => hostMark(host));
    expect(marks).toEqual(['localhost@0123456789abcdef', 'localhost@5555555555555555', 'localhost', 'a-b-c']);
  });

  it('begins with the name, as that of what earlier versions left', () => {
    expect(hostMark().split('@')[0]).toBe(hostLabel());
    expect(hostMark({ name: os.hostname() })).toBe(hostLabel());
  });
});
