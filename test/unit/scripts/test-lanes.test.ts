import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

it("runs by themselves the tests that look at the machine's one switch of grace periods, which every freeze turns", () => {
  const [, alone = ''] =
    /^ *alone=\((.*)\)$/m.exec(readFileSync(path.join(PROJECT, 'scripts/test'), 'utf8')) ?? [];
  const looking = readdirSync(path.join(PROJECT, 'test/integration'))
    .map((name) => `test/integration/${name}`)
    .filter((name) => readFileSync(path.join(PROJECT, name), 'utf8').includes('/sys/kernel/rcu_expedited'));
  expect(looking.length).toBeGreaterThan(0);
  expect(alone.split(' ').toSorted()).toEqual(looking.toSorted());
});
