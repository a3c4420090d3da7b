import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const SOURCE = path.join(import.meta.dirname, '../../../src');

/** What a module loads as it starts: value imports at its top, not those of types, not `await import`. */
function staticImports(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const statements = text.matchAll(/^(?:import|export) (?!type )([^;]*?)from '([^']+)';/gm);
  return [...statements].flatMap(([, names = '', from = '']) => {
    const onlyTypes = /^\{(?:\s*type [^,}]+,?)+\s*\}\s*$/.test(names);
    return onlyTypes ? [] : [from];
  });
}

/** The packages that loading `entry` loads. */
function packagesOf(entry: string): string[] {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const queue = [path.join(SOURCE, entry)];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const from of staticImports(file)) {
      if (from.startsWith('.')) queue.push(path.join(path.dirname(file), from.replace(/\.js$/, '.ts')));
      else if (!from.startsWith('node:')) packages.add(from);
    }
  }
  return [...packages].toSorted();
}

it.each(['base-command.ts', 'flags.ts', 'commands/thaw.ts', 'commands/reset.ts', 'commands/status.ts'])(
  '%s loads nothing but oclif before it has something to do',
  (entry) => {
    expect(packagesOf(entry)).toEqual(['@oclif/core']);
  },
);

it('sees a package that is loaded far below', () => {
  expect(packagesOf('config/load.ts')).toEqual(expect.arrayContaining(['yaml', 'zod']));
});
