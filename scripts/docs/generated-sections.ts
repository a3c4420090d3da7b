import { exitCodeTable, namedExitCodeTable, severityOrder } from './exit-codes.js';
import { campaignFaultTable, campaignProblems, campaignTable, faultPointTable } from './reliability.js';

/** The texts that are generated into documents, by the name of their section. */
const SECTIONS: Readonly<Record<string, () => string>> = {
  'exit codes': exitCodeTable,
  'named exit codes': namedExitCodeTable,
  severity: severityOrder,
  'fault points': faultPointTable,
  'campaign figures': campaignTable,
  'campaign faults': campaignFaultTable,
  'campaign problems': campaignProblems,
};

const SECTION =
  /(?<start><!-- generated: (?<name>[a-z ]+) -->\n\n?)[\s\S]*?(?<end>\n?\n<!-- end of generated -->)/g;

/** The documents with the exit codes in such sections, relative to the project. */
export const EXIT_CODE_DOCUMENTS = ['README.md', 'docs/exit-codes.md'] as const;

/** All documents with such sections. */
export const GENERATED_DOCUMENTS = [...EXIT_CODE_DOCUMENTS, 'docs/reliability.md'] as const;

/**
 * A document with its generated sections brought up to date; all other text stays. A section is what stands between
 * `<!-- generated: NAME -->` and `<!-- end of generated -->`. Throws for a name that nothing generates.
 */
export function fillGeneratedSections(document: string): string {
  return document.replaceAll(SECTION, (...match) => {
    const { start, name, end } = match.at(-1) as Record<'start' | 'name' | 'end', string>;
    const generate = SECTIONS[name];
    if (generate === undefined) throw new Error(`Nothing generates a section "${name}".`);
    return `${start}${generate()}${end}`;
  });
}
