/** A statement that ends with a semicolon, within a function. */
export interface Statement {
  /** From 1. */
  line: number;
  /** On one line, whatever white space it was written with. */
  text: string;
  /** Where in the source it begins, and behind its semicolon. */
  begin: number;
  end: number;
}

/** The statement of `source` from `begin` to `end`. */
export function statementAt(source: string, begin: number, end: number): Statement {
  const line = source.slice(0, begin).split('\n').length;
  return { line, text: source.slice(begin, end).replaceAll(/\s+/g, ' '), begin, end };
}

/** The source without a statement: an empty block stands in its place, for the head that may be before it. */
export function without(source: string, { begin, end }: Statement): string {
  return `${source.slice(0, begin)}{}${source.slice(end)}`;
}
