import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fillGeneratedSections, GENERATED_DOCUMENTS } from './docs/generated-sections.js';

// Brings the generated sections of the documents up to date: `npm run docs`.
for (const name of GENERATED_DOCUMENTS) {
  const file = path.resolve(import.meta.dirname, '..', name);
  await writeFile(file, fillGeneratedSections(await readFile(file, 'utf8')));
}
