import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { severityOrder } from '../../../scripts/docs/exit-codes.js';
import {
  EXIT_CODE_DOCUMENTS,
  fillGeneratedSections,
  GENERATED_DOCUMENTS,
} from '../../../scripts/docs/generated-sections.js';
import { EXIT_CODES } from '../../../src/exit-codes.js';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

describe('the documents', () => {
  it.each(GENERATED_DOCUMENTS)('%s is up to date', async (name) => {
    const text = await readFile(path.join(PROJECT, name), 'utf8');
    expect(text, 'run `npm run docs`').toBe(fillGeneratedSections(text));
  });

  it.each(EXIT_CODE_DOCUMENTS)('%s has a row for every exit code', async (name) => {
    const text = await readFile(path.join(PROJECT, name), 'utf8');
    for (const { code, meaning } of Object.values(EXIT_CODES)) {
      const rows = text.split('\n').filter((line) => line.startsWith(`| ${code} `));
      expect(rows).toEqual([expect.stringContaining(meaning)]);
    }
  });
});

describe('fillGeneratedSections', () => {
  it('replaces what stands between the marks and nothing else', () => {
    const document = 'before\n<!-- generated: severity -->\n\nstale\n\n<!-- end of generated -->\nafter\n';
    expect(fillGeneratedSections(document)).toBe(
      `before\n<!-- generated: severity -->\n\n${severityOrder()}\n\n<!-- end of generated -->\nafter\n`,
    );
  });

  it('refuses a section that nothing generates', () => {
    const document = '<!-- generated: nonsense -->\n\n<!-- end of generated -->';
    expect(() => fillGeneratedSections(document)).toThrow('"nonsense"');
  });
});

describe('severityOrder', () => {
  it('is told where the exit codes are', async () => {
    expect(await readFile(path.join(PROJECT, 'docs/exit-codes.md'), 'utf8')).toContain(
      `\n${severityOrder()}\n`,
    );
  });

  it('is the order that exit codes of several jobs have', () => {
    expect(severityOrder()).toBe(
      '22 > 60 > (129, 130, 143) > 70 > 21 > 31 > 30 > 50 > 40 > 41 > 20 > 11 > 1 > 2 > 3',
    );
  });
});
