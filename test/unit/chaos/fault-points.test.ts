import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { faultPoint, watchdogEnvironment } from '../../../src/system/fault-point.js';
import { ATTACKED, casesOf } from '../../chaos/fault-point-cases.js';
import { outcomesOf } from '../../chaos/fault-point-outcomes.js';
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

it('every boundary is killed and stopped at somewhere, and made to fail where something can', () => {
  const places = Object.keys(ATTACKED) as (keyof typeof ATTACKED)[];
  const attacked = new Set(places.flatMap(casesOf).map(([name, action]) => `${name} ${action}`));
  const wanted = listFaultPoints().flatMap(({ name, canFail }) =>
    ['kill', 'stop', ...(canFail ? ['fail:EIO'] : [])].map((action) => `${name} ${action}`),
  );
  expect([...attacked].toSorted()).toEqual(wanted.toSorted());
});

it.each(['native', 'mirror'] as const)('guests that share the cases of %s all meet each action', (place) => {
  const cases = casesOf(place);
  const guests = place === 'mirror' ? 2 : 3;
  for (let guest = 0; guest < guests; guest += 1) {
    const shared = cases.filter((_, index) => index % guests === guest);
    expect(new Set(shared.map(([, action]) => action)).size).toBe(3);
    expect(new Set(shared.map(([name]) => name)).size).toBeGreaterThan(2);
  }
});

it('who stops in a freeze of its own loses it, and not in one that ended with the snapshot command', () => {
  const point = { name: 'lvm.created', file: '', canFail: true };
  expect(outcomesOf(point, 'stop', true)).toEqual([21]);
  expect(outcomesOf(point, 'stop', false)).toEqual([0]);
});
