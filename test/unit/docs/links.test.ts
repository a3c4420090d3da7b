import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const PROJECT = path.resolve(import.meta.dirname, '../../..');

async function documents(): Promise<string[]> {
  const below = await readdir(path.join(PROJECT, 'docs'), { recursive: true });
  return [
    ...(await readdir(PROJECT)).filter((name) => name.endsWith('.md')),
    ...below.filter((name) => name.endsWith('.md')).map((name) => path.join('docs', name)),
  ];
}

/** The anchors that headings of a document have, as forges make them. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The links of a document that lead nowhere in the project. */
async function deadLinks(document: string): Promise<string[]> {
  const markdown = await readFile(path.join(PROJECT, document), 'utf8');
  const dead: string[] = [];
  for (const [, link = ''] of markdown.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [file = '', anchor] = link.split('#', 2);
    const target =
      file === '' ? path.join(PROJECT, document) : path.resolve(PROJECT, path.dirname(document), file);
    const found =
      existsSync(target) &&
      (anchor === undefined || anchorsOf(await readFile(target, 'utf8')).includes(anchor));
    if (!found) dead.push(link);
  }
  return dead;
}

describe('the links of the documents', async () => {
  it.each(await documents())('of %s lead somewhere', async (document) => {
    expect(await deadLinks(document)).toEqual([]);
  });
});
