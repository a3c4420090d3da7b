import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { KEPT } from '../../mutants/kept.js';
import { statementsOf, without } from '../../mutants/statements.js';
import { SOURCES, testsOf } from '../../mutants/tests-of.js';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

const SAMPLE = `/* begin(); { */
#define TWICE(x) \\
    { x; x; }
struct pair { int a; int b; };
static const char *const words[] = {"one;", "two"};

static int f(int x) {
    struct pair p = {.a = 1, /* ; */
                     .b = 2};
    if (x == ';') return 1;
    for (int i = 0; i < 3; i++)
        if (g("{", i)) h();
        else i++;
    switch (x) {
    case A:
    case B: k(); break;
    default: break;
    }
    do {
        // l();
        m();
    } while (x > 0);
    return ({ n(); });
}
`;

it('finds each statement of a function, and nothing else', () => {
  expect(statementsOf(SAMPLE).map(({ line, text }) => `${line} ${text}`)).toEqual([
    '8 struct pair p = {.a = 1, /* ; */ .b = 2};',
    '10 return 1;',
    '12 h();',
    '13 i++;',
    '16 k();',
    '16 break;',
    '17 break;',
    '21 m();',
    '23 return ({ n(); });',
  ]);
});

it('takes one of them out', () => {
  const texts = statementsOf(SAMPLE)
    .filter(({ text }) => text === 'h();')
    .map((statement) => without(SAMPLE, statement));
  expect(texts).toEqual([SAMPLE.replace('h();', '{}')]);
});

it('has tests of each source of the addon and the programs', () => {
  const script = readFileSync(path.join(PROJECT, 'scripts/build-native'), 'utf8');
  const built = [...script.matchAll(/^\w+_sources=\((?<names>.*)\)$/gm)].flatMap(({ groups }) =>
    (groups?.['names'] ?? '').split(' '),
  );
  expect(SOURCES.toSorted()).toEqual([...new Set(built)].toSorted());
  for (const test of SOURCES.flatMap(testsOf))
    expect(() => readFileSync(path.join(PROJECT, test)), test).not.toThrow();
});

it('knows of each statement that no test sees what it is there for, and of none that is gone', () => {
  for (const { source, text, because } of KEPT) {
    const there = statementsOf(readFileSync(path.join(PROJECT, 'native', source), 'utf8'));
    expect(
      there.map((statement) => statement.text),
      source,
    ).toContain(text);
    expect(because).not.toBe('');
  }
});
