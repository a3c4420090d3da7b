import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

/** The build goes before the tests. */
const CHUNKS = path.resolve(import.meta.dirname, '../../../dist/chunks');

it('has of zod, which each command loads, no language but the one that is spoken', () => {
  const chunks = readdirSync(CHUNKS).filter((name) => name.endsWith('.js'));
  const texts = chunks.map((name) => readFileSync(path.join(CHUNKS, name), 'utf8'));
  const languages = texts.flatMap(
    (text) => text.match(/(?<=^\/\/ node_modules\/zod\/.*\/locales\/).+$/gm) ?? [],
  );
  expect(languages).toEqual(['en.js']);
});
