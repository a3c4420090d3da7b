import { createHash } from 'node:crypto';

const BEGINNING = '{\n';
const SECOND_LINE = /^\{\n.*\n/;

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The text of an object as JSON, with a digest of itself on its second line, `"sha256"`: that of the file without this line
 * (`sed 2d FILE | sha256sum`). So a key that a bad disk changed is not taken for one that was never there.
 */
export function formatDigested(value: object): string {
  const text = `${JSON.stringify(value, undefined, 2)}\n`;
  return text.replace(BEGINNING, `${BEGINNING}  "sha256": "${digestOf(text)}",\n`);
}

/** Whether a text that was parsed to `value` is what its digest says; one without a digest, of older versions, is. */
export function isAsDigested(text: string, value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('sha256' in value)) return true;
  return value.sha256 === digestOf(text.replace(SECOND_LINE, BEGINNING));
}
