import * as z from 'zod';

const message = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('archive_progress'),
    finished: z.boolean().default(false),
    nfiles: z.number().optional(),
    original_size: z.number().optional(),
  }),
  z.object({ type: z.literal('file_status'), status: z.string(), path: z.string() }),
  z.object({
    type: z.literal('log_message'),
    levelname: z.string().default(''),
    message: z.string(),
    msgid: z.string().nullish(),
    /** Of the part of borg that says it. */
    name: z.string().default(''),
  }),
]);

/** A line that borg prints with `--log-json`. */
export type BorgMessage = z.infer<typeof message>;

/** Reads a line of JSON; undefined for what is none, or none of these. */
export function parseBorgMessage(line: string): BorgMessage | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return message.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/**
 * Of a traceback the exception that it ends with: what follows is about the machine that borg ran on (`Platform: …`, with
 * `SSH_ORIGINAL_COMMAND: …` as its last line), what comes before is about borg's own code.
 */
function withoutTraceback(text: string): string {
  const start = text.indexOf('Traceback (most recent call last):');
  if (start === -1) return text;
  const [traceback = ''] = text.slice(start).split(/\n\s*\nPlatform: /);
  const exception =
    traceback
      .trimEnd()
      .split('\n')
      .findLast((line) => /^\S/.test(line)) ?? '';
  return `${text.slice(0, start)}${exception}`;
}

/** Whose messages are the names of files, of an extract with `--list`. */
export const LIST = 'borg.output.list';

/** What borg says, without the JSON around it: as people are to read it. */
export function plainText(stderr: string): string {
  return stderr
    .split('\n')
    .flatMap((line) => {
      const said = parseBorgMessage(line);
      if (said === undefined) return line.startsWith('{') ? [] : [line];
      if (said.type !== 'log_message' || said.name === LIST) return [];
      return [withoutTraceback(said.message).trim()];
    })
    .join('\n')
    .trim();
}

/** What has the path before it and no errno after it: its `BackupError`s. */
const WITHOUT_ERRNO =
  /^(.+): (?:file (?:type|inode) changed \(race condition\), skipping file$|File has damaged \(all-zero\) chunks|Size inconsistency detected: )/s;

/**
 * The path that a warning is about: `srv/file: open: [Errno 5] Input/output error: 'file'`, `srv/file: extended stat
 * (xattrs): [Errno 117] …`, `srv/file: file type changed (race condition), skipping file`, `srv/file: File has damaged
 * (all-zero) chunks. …`. Undefined for one of an attribute: see `parseAttributeComplaint`.
 */
export function parseWarning(said: BorgMessage): string | undefined {
  if (said.type !== 'log_message' || said.levelname !== 'WARNING') return undefined;
  if (parseAttributeComplaint(said.message) !== undefined) return undefined;
  return (/^(.+?): (?:[a-z][\w ]*(?: \(\w+\))?: )?\[Errno \d+\]/s.exec(said.message) ??
    WITHOUT_ERRNO.exec(said.message))?.[1];
}

/** How Python writes bytes: as ASCII, the others as `\xff`. One character for each. */
function binaryOfRepr(text: string): string {
  const known: Record<string, string> = { n: '\n', r: '\r', t: '\t' };
  return text.replaceAll(/\\(?:x([0-9a-f]{2})|(.))/gs, (_, hex: string | undefined, other: string) =>
    hex === undefined ? (known[other] ?? other) : String.fromCodePoint(Number.parseInt(hex, 16)),
  );
}

/**
 * A complaint of a single extended attribute that could not be read or set: `when setting extended attribute user.a: fs full
 * or xattr too big? [xattr len = 5000] ([Errno 28] No space left on device: b'/restored/srv')`. `path` is that of what it
 * was reached by, one character for each byte; undefined where that was a descriptor, which a file has. Undefined for
 * every other message.
 */
export function parseAttributeComplaint(text: string): { path: string | undefined } | undefined {
  if (!/^when (?:getting|setting) extended attribute /.test(text)) return undefined;
  const quoted = /: b(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\)?$/s.exec(text);
  const told = quoted?.[1] ?? quoted?.[2];
  return { path: told === undefined ? undefined : binaryOfRepr(told) };
}

/** Python writes a byte that is no UTF-8 as a lone surrogate. One character per byte, as `printable` takes it. */
export function binaryOfPython(text: string): string {
  return Array.from(text, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) return String.fromCodePoint(code - 0xdc00);
    return Buffer.from(character, 'utf8').toString('latin1');
  }).join('');
}

const archives = z.object({
  archives: z.array(
    z.object({
      name: z.string(),
      id: z.string(),
      // Where they were asked for.
      comment: z.string().default(''),
      hostname: z.string().default(''),
      /** In the time zone of the borg that told it, without saying so. */
      end: z.string().default(''),
    }),
  ),
});

/** An archive of a repository. */
export type BorgArchive = z.infer<typeof archives>['archives'][number];

/** What `borg list --json` printed. Throws for what is no such list. */
export function parseArchives(text: string): BorgArchive[] {
  return archives.parse(JSON.parse(text)).archives;
}

const created = z.object({
  archive: z.object({ id: z.string(), stats: z.object({ original_size: z.number() }) }),
});

/** What `borg create --json` printed; undefined when it did not come to its end. */
export function parseCreated(text: string): { id: string; bytes: number } | undefined {
  try {
    const { archive } = created.parse(JSON.parse(text));
    return { id: archive.id, bytes: archive.stats.original_size };
  } catch {
    return undefined;
  }
}
