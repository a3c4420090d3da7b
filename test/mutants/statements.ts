import { cStatementsOf } from './c-statements.js';
import type { Statement } from './statement.js';
import { tsStatementsOf } from './ts-statements.js';

/** The statements of a source file, in their order. */
export function statementsOf(source: string, text: string): Statement[] {
  return source.endsWith('.c') ? cStatementsOf(text) : tsStatementsOf(text);
}
