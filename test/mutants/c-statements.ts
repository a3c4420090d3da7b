import { statementAt, type Statement } from './statement.js';

const OPENING = new Set(['(', '[', '{']);
/** What is nothing outside of a build with faults: `test/chaos/fault-points.test.ts` fails where a run comes to none. */
const NOTHING = /^(?:error = )?FAULT_(?:POINT|ERRNO)\(/;
const CLOSING = new Set([')', ']', '}']);

/** Comments, strings and preprocessor lines of the same length without a character that means something. */
function blank(source: string): string {
  const meaningless =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm;
  return source.replaceAll(meaningless, (text) => text.replaceAll(/[^\n]/g, ' '));
}

/** Behind the bracket that closes the one at `at`. */
function behindBracket(code: string, at: number): number {
  let depth = 0;
  for (let index = at; index < code.length; index += 1) {
    const character = code[index] ?? '';
    if (OPENING.has(character)) depth += 1;
    else if (CLOSING.has(character)) depth -= 1;
    if (depth === 0) return index + 1;
  }
  throw new Error(`a bracket at offset ${at} is never closed`);
}

/** Behind the heads of control statements and the labels that stand before a statement at `at`. */
function behindHeads(code: string, at: number): number {
  const rest = code.slice(at);
  const space = /^\s+/.exec(rest)?.[0].length ?? 0;
  if (space > 0) return behindHeads(code, at + space);
  const head = /^(?:if|for|while|switch)\s*(?=\()/.exec(rest)?.[0];
  if (head !== undefined) return behindHeads(code, behindBracket(code, at + head.length));
  const label = /^(?:else\b|do\b|case\b[^:]*:|default\s*:)/.exec(rest)?.[0];
  return label === undefined ? at : behindHeads(code, at + label.length);
}

/** Behind the semicolon of the statement that begins at `at`: those within its brackets are its own. */
function behindStatement(code: string, at: number): number {
  let index = at;
  while (index < code.length && code[index] !== ';')
    index = OPENING.has(code[index] ?? '') ? behindBracket(code, index) : index + 1;
  return index + 1;
}

function inBlock(source: string, code: string, from: number, to: number): Statement[] {
  const statements: Statement[] = [];
  let at = from;
  for (;;) {
    at = behindHeads(code, at);
    if (at >= to) return statements;
    if (code[at] === '{') {
      const end = behindBracket(code, at);
      statements.push(...inBlock(source, code, at + 1, end - 1));
      at = end;
      continue;
    }
    const end = behindStatement(code, at);
    if (end - at > 1 && !NOTHING.test(code.slice(at, end))) statements.push(statementAt(source, at, end));
    at = end;
  }
}

/** The statements of all functions of a source file of C that is formatted as ours are, in their order. */
export function cStatementsOf(source: string): Statement[] {
  const code = blank(source);
  const statements: Statement[] = [];
  let at = 0;
  // What is between braces at the top is a function where a parameter list stands before it.
  for (let brace = code.indexOf('{'); brace !== -1; brace = code.indexOf('{', at)) {
    const end = behindBracket(code, brace);
    const isFunction = /\)\s*$/.test(code.slice(at, brace));
    if (isFunction) statements.push(...inBlock(source, code, brace + 1, end - 1));
    at = end;
  }
  return statements;
}
