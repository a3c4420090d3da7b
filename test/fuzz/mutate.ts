/** Numbers from a seed (mulberry32): the same seed, the same inputs. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d_2b_79_f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % Math.max(1, limit);
  };
}

/** What parsers tend to stumble over. */
const TELLING = [
  '',
  ' ',
  '\n',
  '\t',
  '\0',
  '\\',
  '\\040',
  '\\777',
  '"',
  "'",
  '-',
  '--',
  '..',
  '/',
  '/..',
  '/../',
  '~',
  '*a',
  '&a ',
  '<<: *a',
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  ',',
  '#',
  '!!binary ',
  '!!js/function ',
  '%',
  '|',
  '>',
  '? ',
  '\u2028',
  '\uFEFF',
  '\uFFFF',
  '😀',
  '0',
  '-1',
  '1e309',
  '9'.repeat(30),
  '0x10',
  'NaN',
  'null',
  'true',
  '__proto__',
  'constructor',
  '10s',
  '5GiB',
  'A'.repeat(70),
];

/** A text made from one of the corpus by some changes: pieces cut, doubled, swapped, and taken from another of it. */
export function mutate(corpus: readonly string[], random: (limit: number) => number): string {
  const pick = <T>(of: readonly T[]): T => of[random(of.length)] as T;
  let text = pick(corpus);
  for (let times = 1 + random(5); times > 0; times -= 1) {
    const at = random(text.length + 1);
    const end = Math.min(text.length, at + 1 + random(random(4) === 0 ? 200 : 8));
    const other = pick(corpus);
    const from = random(other.length);
    const middle = [
      () => '',
      () => text.slice(at, end).repeat(2),
      () => pick(TELLING),
      () => String.fromCodePoint(random(0x250)),
      () => other.slice(from, from + 1 + random(80)),
      () => pick(TELLING) + text.slice(at, end),
    ];
    text = text.slice(0, at) + pick(middle)() + text.slice(end);
  }
  return text;
}
