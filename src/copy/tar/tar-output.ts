/** One line of a verbose listing (`-vv`): what kind of member, and its size. */
export interface ListedMember {
  /** The first letter of `ls -l`; `h` is a further name of a file that is a member already. */
  type: string;
  bytes: number;
  /** As tar prints it: escaped (`--quoting-style=escape`), `name -> target`, `name link to target`. */
  name: string;
}

/** Reads one line of `tar -vv --numeric-owner`: `-rw-r--r--* 0/0   2 2026-11-23 19:16 srv/a`. */
export function parseListing(line: string): ListedMember | undefined {
  const match = /^([-bcdhlpsCDLMNSVx])[-rwxsStT]{9}\S? +\d+\/\d+ +(\d+(?:,\d+)?) +\S+ \S+ (.*)$/.exec(line);
  if (match === null) return undefined;
  const [, type = '-', size = '0', name = ''] = match;
  return { type, bytes: size.includes(',') ? 0 : Number(size), name };
}

/** Undoes `--quoting-style=escape`: the bytes of a name, one character each. */
export function unescapeName(escaped: string): string {
  const letters: Readonly<Record<string, string>> = {
    a: '\u0007',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
    v: '\v',
  };
  return escaped.replaceAll(/\\([0-7]{3}|.)/g, (_, code: string) =>
    code.length === 3 ? String.fromCodePoint(Number.parseInt(code, 8)) : (letters[code] ?? code),
  );
}

const ABOUT_A_PATH =
  /^tar: (.+?): (?:Warning: )?(?:Cannot [a-z]|Read error at|File shrank by|File removed before|Wrote only|Not found in archive)/;
const ABOUT_AN_ATTRIBUTE = /^tar: .*Cannot set '.*' extended attribute for file '(.+)':/;

/** Whether it packed zeros in place of what of a member could not be read. */
export function isPadded(complaint: string): boolean {
  return /: (?:Warning: )?(?:Read error at|File shrank by)/.test(complaint);
}

/** The member that a line of tar's stderr says could not be read or restored, or undefined. */
export function parseComplaint(line: string): string | undefined {
  return (ABOUT_AN_ATTRIBUTE.exec(line) ?? ABOUT_A_PATH.exec(line))?.[1];
}
