import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { KEPT } from '../../mutants/kept.js';
import { without } from '../../mutants/statement.js';
import { statementsOf } from '../../mutants/statements.js';
import { SOURCES, testsOf } from '../../mutants/tests-of.js';
import { TypeCheck } from '../../mutants/type-check.js';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

const C = `/* begin(); { */
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

const TYPESCRIPT = `import { h } from './h.js';
const é = ';';
export const words: readonly string[] = ['one;', \`two\${é};\`];
h('top');

class Pair {
  readonly a = 1; // l();
  #b: number | undefined;

  constructor(x: number) {
    this.#b = x === 1 ? 2
      : 3;
  }

  get b(): number | undefined {
    if (this.#b === 1) return;
    else h(\`\${'{'};\`);
    for (const i of words) {
      if (i === ';') continue;
      break;
    }
    return this.#b;
  }
}

export async function f(pair: Pair): Promise<void> {
  let last: unknown;
  try {
    pair.b?.toFixed();
    await Promise.all(words.map(async (word) => {
      last = word;
    }));
  } catch (error) {
    throw error;
  } finally {
    h(String(last));
  }
}

function g(x: number): number | undefined {
  for (const i of [x]) {
    if (i > 1) return undefined;
  }
  try {
    if (x > 2) return undefined;
    else h('last');
  } catch {
    return undefined;
  }
}
`;

const linesOf = (source: string, text: string): string[] =>
  statementsOf(source, text).map((statement) => `${statement.line} ${statement.text}`);

it('finds each statement of a function of C, and nothing else', () => {
  expect(linesOf('f.c', C)).toEqual([
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

it('finds each statement of a function of TypeScript, of those within another too, and nothing else', () => {
  expect(linesOf('f.ts', TYPESCRIPT)).toEqual([
    '11 this.#b = x === 1 ? 2 : 3;',
    '16 return;',
    "17 h(`${'{'};`);",
    '19 continue;',
    '20 break;',
    '22 return this.#b;',
    '27 let last: unknown;',
    '29 pair.b?.toFixed();',
    '30 await Promise.all(words.map(async (word) => { last = word; }));',
    '31 last = word;',
    '34 throw error;',
    '36 h(String(last));',
    // Not those that end what ends there anyway.
    '42 return undefined;',
    "46 h('last');",
  ]);
});

it.each([
  ['f.c', C, 'h();'],
  ['f.ts', TYPESCRIPT, 'continue;'],
])('takes one of them out: %s', (source, whole, text) => {
  const found = statementsOf(source, whole).filter((statement) => statement.text === text);
  expect(found.map((statement) => without(whole, statement))).toEqual([whole.replace(text, '{}')]);
});

it('has the compiler look at a file of TypeScript again and again, and says what is wrong with it first', () => {
  const checkout = mkdtempSync(path.join(tmpdir(), 'checkout-'));
  const file = path.join(checkout, 'f.ts');
  const whole = 'export function f(): number {\n  const x = 1;\n  return x;\n}\n';
  writeFileSync(path.join(checkout, 'tsconfig.json'), '{"compilerOptions": {"strict": true, "types": []}}');
  writeFileSync(file, whole);
  const types = new TypeCheck(checkout);
  try {
    expect(types.errorIn(file)).toBeUndefined();
    const said = statementsOf(file, whole).map((statement) => {
      writeFileSync(file, without(whole, statement));
      return types.errorIn(file);
    });
    expect(said).toEqual([
      "Cannot find name 'x'.",
      "A function whose declared type is neither 'undefined', 'void', nor 'any' must return a value.",
    ]);
    writeFileSync(file, `${whole}(`);
    expect(types.errorIn(file)).toBe('Expression expected.');
    writeFileSync(file, whole);
    expect(types.errorIn(file)).toBeUndefined();
  } finally {
    types.close();
    rmSync(checkout, { recursive: true });
  }
});

it('has tests of each source of the addon, the programs, the freezer and the window', () => {
  const script = readFileSync(path.join(PROJECT, 'scripts/build-native'), 'utf8');
  const built = [...script.matchAll(/^\w+_sources=\((?<names>.*)\)$/gm)].flatMap(({ groups }) =>
    (groups?.['names'] ?? '').split(' '),
  );
  const freezer = readdirSync(path.join(PROJECT, 'src/freeze')).map((name) => `src/freeze/${name}`);
  const native = [...new Set(built)].map((name) => `native/${name}`);
  expect(SOURCES.toSorted()).toEqual([...native, ...freezer, 'src/run/window.ts'].toSorted());
  expect(new Set(SOURCES.map((source) => path.basename(source))).size).toBe(SOURCES.length);
  for (const test of SOURCES.map(testsOf).flatMap(({ modules, built: others }) => [...modules, ...others]))
    expect(() => readFileSync(path.join(PROJECT, test)), test).not.toThrow();
});

it('knows of each statement that no test sees what it is there for, and of none that is gone', () => {
  for (const { source, text, because } of KEPT) {
    const there = statementsOf(source, readFileSync(path.join(PROJECT, source), 'utf8'));
    expect(
      there.map((statement) => statement.text),
      source,
    ).toContain(text);
    expect(because).not.toBe('');
  }
});
