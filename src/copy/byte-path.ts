/*
 * File names are bytes, and most of them are UTF-8. A path is an ordinary string where it is; every byte that is part
 * of no UTF-8 character is one lone surrogate, U+DC80 to U+DCFF (the convention of Python's PEP 383). So a path can be
 * matched, sorted and handed on as a string, and still names exactly the file that it was read from.
 */

const LONGEST_CHARACTER = 4;
const ESCAPES = 0xdc00;

function characterAt(bytes: Buffer, at: number): { text: string; length: number } {
  for (let length = 1; length <= LONGEST_CHARACTER && at + length <= bytes.length; length += 1) {
    const part = bytes.subarray(at, at + length);
    const text = part.toString('utf8');
    if (Buffer.from(text, 'utf8').equals(part)) return { text, length };
  }
  return { text: String.fromCodePoint(ESCAPES + (bytes[at] ?? 0)), length: 1 };
}

/** The path whose bytes these are, one character each. */
export function pathFromBytes(binary: string): string {
  const bytes = Buffer.from(binary, 'latin1');
  const whole = bytes.toString('utf8');
  if (Buffer.from(whole, 'utf8').equals(bytes)) return whole;
  let path = '';
  for (let at = 0; at < bytes.length;) {
    const { text, length } = characterAt(bytes, at);
    path += text;
    at += length;
  }
  return path;
}

/** The bytes of a path, undoing `pathFromBytes`. */
export function bytesOfPath(path: string): Buffer {
  // With the flag `u` a surrogate in a class matches only one that stands alone.
  const parts = path.split(/([\uDC80-\uDCFF])/u);
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 1 ? Buffer.from([(part.codePointAt(0) ?? ESCAPES) - ESCAPES]) : Buffer.from(part, 'utf8'),
    ),
  );
}

/** Whether a path can be an argument of a program that Node starts: it is UTF-8. */
export function isText(path: string): boolean {
  return !/[\uDC80-\uDCFF]/u.test(path);
}

/** Paths for a program that reads them NUL-terminated. */
export function nulTerminated(paths: readonly string[]): Buffer {
  const nul = Buffer.from([0]);
  return Buffer.concat(paths.flatMap((path) => [bytesOfPath(path), nul]));
}
