import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const PROJECT = path.resolve(import.meta.dirname, '../../..');
const SCRIPT = readFileSync(path.join(PROJECT, 'scripts/test'), 'utf8');

/** The files of tests that the shell's patterns stand for; of a directory, all below it. */
function filesOf(patterns: string): string[] {
  const list = `shopt -s globstar nullglob; find ${patterns} -name '*.test.ts'`;
  return execFileSync('bash', ['-c', list], { cwd: PROJECT, encoding: 'utf8' }).trim().split('\n');
}

it("runs by themselves the tests that look at the machine's one switch of grace periods, which every freeze turns", () => {
  const [, alone = ''] = /^ *alone=\((.*)\)$/m.exec(SCRIPT) ?? [];
  const looking = readdirSync(path.join(PROJECT, 'test/integration'))
    .map((name) => `test/integration/${name}`)
    .filter((name) => readFileSync(path.join(PROJECT, name), 'utf8').includes('/sys/kernel/rcu_expedited'));
  expect(looking.length).toBeGreaterThan(0);
  expect(alone.split(' ').toSorted()).toEqual(looking.toSorted());
});

it('runs in one of the lanes, and in one alone, what the last of them leaves out', () => {
  const lanes = [...SCRIPT.matchAll(/^ *begin_lane \w+ (.*)$/gm)].flatMap(([, patterns = '']) =>
    filesOf(patterns),
  );
  const [, rest = ''] = /^ *rest=\((.*)\)$/m.exec(SCRIPT) ?? [];
  const leftOut = filesOf(rest.replaceAll('--exclude=', '').replaceAll("'", ''));
  expect(leftOut.length).toBeGreaterThan(50);
  expect(lanes.toSorted()).toEqual([...new Set(leftOut)].toSorted());
});
