import { describe, expect, it } from 'vitest';
import { commandOf, commandsData, fillIn } from '../../../src/snapshots/command-line.js';
import type { SnapshotRef } from '../../../src/snapshots/provider.js';

const VALUES = { name: 'fsbackup-a', device: '/dev/sdb', mountpoint: '/srv/my data' };

function refWith(data: Record<string, string>): SnapshotRef {
  return { provider: 'command', name: 'n', mountpoint: '/srv', fstype: 'ext4', takenFrozen: true, data };
}

describe('fillIn', () => {
  it('fills in also within arguments, each as one argument', () => {
    expect(fillIn(['array', '--volume={device}', '{mountpoint}', '{name}-{name}'], VALUES)).toEqual([
      'array',
      '--volume=/dev/sdb',
      '/srv/my data',
      'fsbackup-a-fsbackup-a',
    ]);
  });

  it('leaves alone what it does not know, and what it has filled in', () => {
    const values = { ...VALUES, mountpoint: '{name}', name: '$&' };
    expect(fillIn(['jq', '{}', '{"a":1}', '{directory}', '{mountpoint}', '{name}'], values)).toEqual([
      'jq',
      '{}',
      '{"a":1}',
      '{directory}',
      '{name}',
      '$&',
    ]);
    expect(fillIn(['mount', '{directory}'], { ...VALUES, directory: '/run/x' })).toEqual(['mount', '/run/x']);
  });
});

describe('the commands in the data of a ref', () => {
  it('are those that went in', () => {
    const commands = { create: ['a', 'b c'], expose: ['d'], remove: ['e', '"'] } as const;
    const ref = refWith(commandsData(commands));
    expect(commandOf(ref, 'create')).toEqual(['a', 'b c']);
    expect(commandOf(ref, 'remove')).toEqual(['e', '"']);
    expect(commandOf(ref, 'exists')).toBeUndefined();
    expect(commandOf(ref, 'unexpose')).toBeUndefined();
  });

  it.each([{}, { remove: '"rm"' }, { remove: '[]' }, { remove: '[1]' }])('are not made up: %j', (data) => {
    expect(() => commandOf(refWith(data), 'remove')).toThrow(/remove command/);
  });
});
