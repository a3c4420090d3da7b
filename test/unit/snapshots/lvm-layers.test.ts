import { describe, expect, it } from 'vitest';
import { holdsKey, layersAbove, moveTable } from '../../../src/snapshots/lvm-layers.js';

const KEY = '0'.repeat(64);
const CRYPT = `0 98304 crypt aes-xts-plain64 ${KEY} 0 253:3 4096 1 allow_discards\n`;

function device(majorMinor: string, dmUuid: string) {
  return { name: 'dm', majorMinor, backingFile: undefined, dmUuid };
}

describe('layersAbove', () => {
  it('tells LUKS and partitions, the lowest first', () => {
    const stack = [device('253:9', 'CRYPT-LUKS1-ab-srv'), device('253:8', 'part2-LVM-cd')];
    expect(layersAbove(stack, ['253:9', '253:8'])).toEqual([
      { kind: 'partition', majorMinor: '253:8' },
      { kind: 'luks', majorMinor: '253:9' },
    ]);
    expect(layersAbove(stack, [])).toEqual([]);
  });

  it.each(['', 'CRYPT-PLAIN-srv', 'mpath-1', 'partly-LVM-ab'])('does not know "%s"', (uuid) => {
    expect(layersAbove([device('253:9', uuid)], ['253:9'])).toBeUndefined();
  });
});

describe('moveTable', () => {
  it('replaces the device below, and nothing else', () => {
    expect(moveTable('luks', CRYPT, '253:40')).toBe(CRYPT.trimEnd().replace('253:3', '253:40'));
    expect(moveTable('partition', '0 8192 linear 253:3 2048\n', '253:40')).toBe('0 8192 linear 253:40 2048');
  });

  it.each([
    ['two segments', 'partition', '0 8 linear 253:3 0\n8 8 linear 253:4 0\n'],
    ['another target', 'partition', '0 8 striped 2 253:3 0'],
    ['another target in place of LUKS', 'luks', '0 8 linear 253:3 0'],
    ['nothing', 'luks', ''],
  ] as const)('refuses %s', (_what, kind, table) => {
    expect(moveTable(kind, table, '253:40')).toBeUndefined();
  });
});

it('knows a key from the name of one in the keyring', () => {
  expect(holdsKey(CRYPT)).toBe(true);
  expect(holdsKey(CRYPT.replace(KEY, ':64:logon:cryptsetup:1234-d0'))).toBe(false);
});
