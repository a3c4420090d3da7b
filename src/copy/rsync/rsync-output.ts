import type { CopyProgress } from '../engine.js';
import { printable } from '../printable.js';

/** What `--stats` tells of a finished transfer (rsync(1), "--stats"). */
export interface RsyncStats {
  bytes: number;
  /** Everything but directories. */
  files: number;
  /** Directories too. */
  entries: number;
}

function count(digits: string | undefined): number {
  return digits === undefined ? 0 : Number(digits.replaceAll(',', ''));
}

/** Reads the output of `--stats`; zeros where it is not there. */
export function parseStats(stdout: string): RsyncStats {
  const numbers = /^Number of files: ([\d,]+)(?: \((.*)\))?$/m.exec(stdout);
  const directories = /\bdir: ([\d,]+)/.exec(numbers?.[2] ?? '');
  const size = /^Total file size: ([\d,]+)/m.exec(stdout);
  const entries = count(numbers?.[1]);
  return { bytes: count(size?.[1]), files: entries - count(directories?.[1]), entries };
}

/** How many regular files the output of `--stats` says were brought, whole or in part; undefined where it is not there. */
export function parseTransferred(stdout: string): number | undefined {
  const digits = /^Number of regular files transferred: ([\d,]+)$/m.exec(stdout)?.[1];
  return digits === undefined ? undefined : count(digits);
}

/** Whole percents of less say too little of the total. */
const SETTLED_PERCENT = 10;

/**
 * Reads one line of `--info=progress2`: `1,238,099  99%  146.38kB/s  0:00:08 (xfr#5, to-chk=169/396)`.
 * The part in parentheses comes only at the end of a file, and counts regular files that were transferred and entries,
 * directories too, that are left; total bytes are an estimate from the percents. Undefined for any other line.
 */
export function parseProgress(line: string): Partial<CopyProgress> | undefined {
  const match = /^\s*([\d,]+)\s+(\d+)%\s+\S+\s+\S+\s*(?:\(xfr#(\d+), (?:to|ir)-chk=(\d+)\/(\d+)\))?/.exec(
    line,
  );
  if (match === null) return undefined;
  const [, digits, percent, transferred, left, total] = match;
  const bytes = count(digits);
  const estimate = Math.round((bytes * 100) / (Number(percent) + 0.5));
  return {
    bytes,
    ...(Number(percent) < SETTLED_PERCENT ? {} : { totalBytes: Math.max(bytes, estimate) }),
    ...(transferred === undefined || left === undefined || total === undefined
      ? {}
      : {
          files: Number(transferred),
          entries: Number(total) - Number(left),
          totalEntries: Number(total),
        }),
  };
}

/** Extended attributes that one filesystem takes and another does not end as ENOSPC too: that is no full target. */
const FULL = /(?:No space left on device \(28\)|Disk quota exceeded \(122\)|Read-only file system \(30\))$/;

/** Undoes rsync's escaping: `\#ooo` for each byte that its locale cannot print. Returns bytes, one character each. */
export function unescapeBytes(escaped: string): string {
  return escaped.replaceAll(/\\#([0-7]{3})/g, (_, octal: string) =>
    String.fromCodePoint(Number.parseInt(octal, 8)),
  );
}

function about(escaped: string): RsyncComplaint {
  const name = unescapeBytes(escaped);
  return { kind: 'path', path: printable(name), name };
}

/** The complaints that name a path, relative to source or destination, without quotes. */
const UNQUOTED = [
  /^ERROR: (.+) failed verification/d,
  /^could not make way for [^:]+: (.+)$/d,
  // The second since 3.5.
  /^rsync: (?:\[\w+\] )?[gs]et_acl: (?:sys_acl_[gs]et_file|xacl_[gs]et)\((?:\.\/)?(.+), ACL_TYPE_\w+\):/d,
  // Longer than PATH_MAX, below the source: what lies deeper is not looked at.
  /^filename overflows max-path len by \d+: (.+)$/d,
  /^skipping overly long name: (.+)$/d,
];

function unquotedIn(line: string): RegExpExecArray | undefined {
  return UNQUOTED.map((pattern) => pattern.exec(line)).find((match) => match !== null) ?? undefined;
}

/**
 * What rsync says in its own words: its stderr, or a line of it, without the names of files. Those are anybody's, who may
 * call a file "No space left on device (28)".
 */
export function withoutNames(stderr: string): string {
  const lines = stderr.split('\n').map((line) => {
    const [start, end] = unquotedIn(line)?.indices?.[1] ?? [];
    if (start !== undefined && end !== undefined) return line.slice(0, start) + line.slice(end);
    // From the first quote to the last: a name may hold some.
    return line.replace(/".*"/, '""');
  });
  return lines.join('\n');
}

/** Whether a line of rsync's stderr that names a file means that it did not come, and will not. */
export function tellsOfNone(line: string): boolean {
  return /^(?:rsync: (?:\[sender\] )?send_files failed to open |file has vanished: |ERROR: .+ failed verification )/.test(
    line,
  );
}

/** What one line of rsync's stderr means; undefined for those that only sum up others. */
export type RsyncComplaint =
  /** `name` is what `path` shows, one character per byte. */
  { kind: 'path'; path: string; name: string } | { kind: 'full' } | undefined;

/**
 * Reads one line of rsync's stderr. Complaints name their path in quotes
 * (`rsync: [sender] send_files failed to open "/x": …`, `file has vanished: "/x"`), with `\#ooo` for bytes that
 * cannot be printed. A complaint about `lsetxattr` names the path first and the attribute after it.
 */
export function parseComplaint(line: string): RsyncComplaint {
  const said = withoutNames(line);
  if (said.startsWith('rsync: ') && FULL.test(said) && !/xattr/.test(said)) return { kind: 'full' };
  const unquoted = unquotedIn(line)?.[1];
  if (unquoted !== undefined) return about(unquoted);
  if (!/^(?:rsync: |file has vanished: )/.test(line)) return undefined;
  const path = /"(.+?)"(?=[: ,)]|$)/.exec(line)?.[1];
  return path === undefined ? undefined : about(path);
}

/**
 * The files that rsync may have meant by a name, one character per byte, the likeliest first. What it receives has a name of its own,
 * `.NAME.XXXXXX`, until it is whole; of a NAME that begins with a dot that is the first one.
 */
export function namesBehind(told: string): [string, ...string[]] {
  const [, directory = '', name] = /^(.*\/)?\.([^/]+)\.[A-Za-z0-9]{6}$/s.exec(told) ?? [];
  return name === undefined ? [told] : [`${directory}${name}`, `${directory}.${name}`, told];
}
