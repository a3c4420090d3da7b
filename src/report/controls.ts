/**
 * One line of text that may hold names from outside, with its control characters written out, a newline too: a name must
 * not be able to move the cursor, set a terminal's title, or add a line that looks as if we had said it.
 */
export function withoutControls(line: string): string {
  return line.replaceAll(/\p{Cc}/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\x${code.toString(16).padStart(2, '0')}`;
  });
}

/** Lines of text, each without control characters. */
export function asLines(lines: readonly string[]): string {
  return lines.map(withoutControls).join('\n');
}

/**
 * JSON as it is printed, which may be to a terminal: with all control characters escaped, and not those below U+0020 alone. To a
 * terminal U+009B is what ESC and `[` are together.
 */
export function asJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replaceAll(
    /[\u007F-\u009F]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
