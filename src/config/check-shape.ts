import type * as z from 'zod';
import { closest } from '../suggest.js';
import type { Complaint, ValuePath } from './problems.js';

/** A value that has the schema's shape, or what is wrong with it. */
export type Checked<Value> = { value: Value } | { complaints: Complaint[] };

const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'text',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
};

function found(input: unknown): string {
  if (input === null) return 'nothing';
  if (Array.isArray(input)) return 'a list';
  return typeof input === 'object' ? 'a mapping' : JSON.stringify(input);
}

/** What stands in the place of text, a mapping or a list may be a password, and errors get into logs and mails: not what it is. */
function foundKind(input: unknown): string {
  switch (typeof input) {
    case 'string':
      return 'text';
    case 'number':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return found(input);
  }
}

/** What YAML takes for something else than text, and was meant as such. */
export function unquoted(input: unknown): string | undefined {
  if (typeof input !== 'number' && typeof input !== 'boolean') return undefined;
  return `expected text, found ${foundKind(input)}: put it in quotes`;
}

/** Our words for the issues whose schema has none of its own. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') {
    if (issue.input === undefined) return 'missing';
    const quotes = issue.expected === 'string' ? unquoted(issue.input) : undefined;
    if (quotes !== undefined) return quotes;
    const isPlain = ['string', 'boolean', 'int', 'number'].includes(issue.expected);
    const said = isPlain ? found(issue.input) : foundKind(issue.input);
    return `expected ${KINDS[issue.expected] ?? issue.expected}, found ${said}`;
  }
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    if (issue.input === undefined) return 'missing';
    const near = typeof issue.input === 'string' ? closest(issue.input, values) : undefined;
    const choice = `${found(issue.input)} is none of ${values.join(', ')}`;
    return near === undefined ? choice : `${choice}; did you mean "${near}"?`;
  }
  if (issue.code === 'invalid_union') return 'expected a path or a mapping with a path';
  return undefined;
}

function isRootMismatch(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

function toComplaints(issue: z.core.$ZodIssue, above: ValuePath): Complaint[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n');
    return issue.keys.map((key, index) => ({
      path: [...path, key],
      message: messages[index] ?? 'unknown key',
      at: 'key',
    }));
  }
  if (issue.code === 'invalid_union') {
    // The branch that was meant is the one whose own type fits; its complaints are the useful ones.
    const meant = issue.errors.find((branch) => !branch.some((inner) => isRootMismatch(inner)));
    if (meant !== undefined) return meant.flatMap((inner) => toComplaints(inner, path));
  }
  if (issue.code === 'invalid_key') {
    return [{ path, message: issue.issues[0]?.message ?? issue.message, at: 'key' }];
  }
  return [{ path, message: issue.message, at: 'value' }];
}

/** Checks `value` against `schema`, all complaints at once, each at its own path. */
export function checkShape<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): Checked<z.output<Schema>> {
  const result = schema.safeParse(value, { error: explain });
  if (result.success) return { value: result.data };
  return { complaints: result.error.issues.flatMap((issue) => toComplaints(issue, [])) };
}
