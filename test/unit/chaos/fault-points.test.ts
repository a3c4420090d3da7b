import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { faultPoint, watchdogEnvironment } from '../../../src/system/fault-point.js';
import { listFaultPoints } from '../../support/fault-points.js';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

function built(directory: string): string[] {
  return readdirSync(path.join(PROJECT, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

it('nothing that is installed can be made to fail at a boundary', () => {
  const files = [
    ...built('dist'),
    ...['addon.node', 'watchdog'].map((name) => path.join(PROJECT, 'native/build', name)),
  ];
  expect(files.length).toBeGreaterThan(10);
  // What the build for tests obeys (test/support/fault-build).
  expect(files.filter((file) => readFileSync(file, 'latin1').includes('FSBACKUP_FAULT'))).toEqual([]);
});

it('a boundary does nothing, and the environment of the watchdog is empty', () => {
  expect(() => faultPoint('window.frozen')).not.toThrow();
  expect(watchdogEnvironment()).toEqual({});
});

it('the boundaries are found in execute, the window, every provider, the addon and both guards', () => {
  const kinds = new Set(listFaultPoints().map(({ name }) => name.split('.')[0]));
  const providers = ['reflink', 'btrfs', 'command', 'lvm', 'mirror', 'zfs'];
  for (const kind of ['run', 'window', 'copy', 'freeze', 'guard', 'second', ...providers])
    expect(kinds).toContain(kind);
});
