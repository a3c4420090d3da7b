import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import { messageOf } from '../errors.js';
import { type Complaint, type ConfigProblem, formatPath } from './problems.js';

/** A parsed YAML file that can tell where each of its values was written. */
export interface YamlFile {
  file: string;
  /** Plain data; undefined when there are problems. */
  value: unknown;
  /** Syntax errors, duplicate keys, unknown tags. */
  problems: ConfigProblem[];
  /** Places a complaint; one about a key that is missing is placed at what it is missing from. */
  locate(complaint: Complaint): ConfigProblem;
}

/** What one step down the document leads to. */
interface Step {
  keyOffset: number | undefined;
  value: unknown;
}

function stepInto(node: unknown, key: PropertyKey): Step | undefined {
  if (isMap(node)) {
    for (const pair of node.items) {
      if (!isScalar(pair.key) || String(pair.key.value) !== String(key)) continue;
      return { keyOffset: pair.key.range?.[0], value: pair.value };
    }
  }
  if (isSeq(node) && typeof key === 'number' && key < node.items.length) {
    return { keyOffset: undefined, value: node.items[key] };
  }
  return undefined;
}

function offsetOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

function findOffset(document: Document, complaint: Complaint): number {
  let node: Node | null | undefined = document.contents;
  let offset = offsetOf(node) ?? 0;
  for (const [depth, key] of complaint.path.entries()) {
    const step = stepInto(isAlias(node) ? node.resolve(document) : node, key);
    if (step === undefined) return offset;
    const valueOffset = offsetOf(step.value);
    const wantsValue = depth === complaint.path.length - 1 && complaint.at === 'value';
    // Going on down, a key is the better place to stay when the next step finds nothing.
    offset = (wantsValue ? (valueOffset ?? step.keyOffset) : (step.keyOffset ?? valueOffset)) ?? offset;
    node = step.value as Node | null;
  }
  return offset;
}

const SECOND_DOCUMENT =
  'a second document begins (---): it would not be read; move its jobs up, or to a file in conf.d';
const NOT_UTF8 = 'text that is not UTF-8: save the file as UTF-8';

/** Parses YAML 1.2. Never throws: what is wrong is in `problems`. */
export function parseYamlFile(file: string, text: string): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const place = (offset: number, path: string, message: string): ConfigProblem => {
    const { line, col } = lines.linePos(offset);
    // An empty file has no lines: its start is 0:0.
    return { file, line: Math.max(1, line), column: Math.max(1, col), path, message };
  };
  // A tag that is not known would make its value something else than what was meant.
  const problems = [...document.errors, ...document.warnings].map(({ code, pos, message }) => {
    const written = /^[^\s:]*/.exec(text.slice(pos[0]))?.[0] ?? '';
    if (code === 'MULTIPLE_DOCS') return place(pos[0], '', SECOND_DOCUMENT);
    return place(pos[0], '', code === 'DUPLICATE_KEY' ? `"${written}" is defined twice` : message);
  });
  // What is read in the place of bytes that are no UTF-8: a path with it is another path.
  const replaced = text.indexOf('\u{FFFD}');
  if (replaced !== -1) problems.push(place(replaced, '', NOT_UTF8));
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return;
      const message = `*${alias.source} is an alias of nothing: text that begins with * needs quotes`;
      problems.push(place(alias.range?.[0] ?? 0, '', message));
    },
    // In quotes YAML can write it, and no path, name or argument can hold it.
    Scalar(_key, scalar) {
      if (typeof scalar.value !== 'string' || !scalar.value.includes('\0')) return;
      problems.push(place(scalar.range?.[0] ?? 0, '', 'text with a NUL character (\\0) in it'));
    },
    // Of all keys the only one that JavaScript, and with it the check of the shape, passes over.
    Pair(_key, { key }) {
      if (!isScalar(key) || String(key.value) !== '__proto__') return;
      problems.push(place(key.range?.[0] ?? 0, '', '"__proto__" is no name'));
    },
  });
  let value: unknown;
  if (problems.length === 0) {
    try {
      value = document.toJS();
    } catch (error) {
      problems.push(place(0, '', messageOf(error)));
    }
  }
  return {
    file,
    value,
    problems,
    locate: (complaint) =>
      place(findOffset(document, complaint), formatPath(complaint.path), complaint.message),
  };
}
