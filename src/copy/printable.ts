/**
 * A name for people and for JSON, from its bytes, one character each: as UTF-8 where it is that and can be printed,
 * else with `\ooo` for each byte that cannot.
 */
export function printable(binary: string): string {
  const bytes = Buffer.from(binary, 'latin1');
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes) && !/\p{Cc}/u.test(text)) return text;
  return binary.replaceAll(
    /[^ -~]/g,
    (byte) => `\\${(byte.codePointAt(0) ?? 0).toString(8).padStart(3, '0')}`,
  );
}
