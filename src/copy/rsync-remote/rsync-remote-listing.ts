import { Writable } from 'node:stream';
import { FsbackupError } from '../../errors.js';
import { isBackupId, isJobName, type BackupRef } from '../backup/backup-layout.js';
import { pathFromBytes } from '../byte-path.js';
import { MAX_NOTE_BYTES, parseNote, type RemoteNote } from './rsync-remote-note.js';

/** A tree on another host that has the name of a backup. */
export interface RemoteBackup extends Pick<BackupRef, 'job' | 'backupId'> {
  /** When it was begun, as its id tells. */
  begunAt: Date;
  /** What lies at the top of it, as paths on the live system. */
  top: string[];
  /** Undefined: there is none. `problem`: it cannot be used. */
  note: RemoteNote | { problem: string } | undefined;
}

/** What is told is held in memory, and whoever tells it may be anybody. */
const LIMITS = {
  /** As long as a note that is one line. */
  lineBytes: MAX_NOTE_BYTES + 1024,
  bytes: 256 * 1024 ** 2,
  backups: 100_000,
  top: 10_000,
} as const;

function tooMuch(): FsbackupError {
  return new FsbackupError('copyFailed', 'the other host tells of more backups than there can be', {
    hint: 'See what it keeps in that directory, and whether it is the host that you mean.',
  });
}

function timeOf(backupId: string): Date | undefined {
  const time = new Date(
    backupId.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z.*$/, '$1-$2-$3T$4:$5:$6Z'),
  );
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** A name at the top of a tree, after the tree's own. It becomes a path, and so it is to be one name. */
function takeTop({ backupId, top }: RemoteBackup, named: string): void {
  const name = named.startsWith(`${backupId}/`) ? named.slice(backupId.length + 1) : '';
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) return;
  if (top.length < LIMITS.top) top.push(`/${pathFromBytes(name)}`);
}

/** The note that is being read. */
interface OpenNote {
  of: RemoteBackup;
  lines: string[];
}

/** Takes what the script `FIND` prints. Fails when that is more than its limits. What is no backup is passed over. */
export class RemoteListing extends Writable {
  /** True: the directory is no place for backups. */
  isAbsent = false;
  readonly #found = new Map<string, RemoteBackup>();
  #current: RemoteBackup | undefined;
  /** The job whose notes come. */
  #job: string | undefined;
  #note: OpenNote | undefined;
  #partial = '';
  #bytes = 0;

  get backups(): RemoteBackup[] {
    return [...this.#found.values()];
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#bytes += chunk.length;
    const lines = (this.#partial + chunk.toString('latin1')).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
    const isTooMuch =
      this.#bytes > LIMITS.bytes ||
      this.#partial.length > LIMITS.lineBytes ||
      this.#found.size > LIMITS.backups;
    done(isTooMuch ? tooMuch() : undefined);
  }

  #take(line: string): void {
    const [, word, rest = ''] = /^fsbackup: (\w+) ?(.*)$/s.exec(line) ?? [];
    if (word === undefined) {
      this.#takeNote(line);
      return;
    }
    this.#closeNote();
    this.#job = word === 'notes' ? rest : undefined;
    if (word === 'absent') this.isAbsent = true;
    else if (word === 'backup') this.#current = this.#begin(rest);
    else if (word === 'top' && this.#current !== undefined) takeTop(this.#current, rest);
  }

  /** A line of a note, or the one before it that `head -v` prints; after it a newline that is not the note's. */
  #takeNote(line: string): void {
    if (this.#job === undefined || !line.startsWith(' ')) return;
    const backupId = /^ ==> \.\/(.*)\.json <==$/.exec(line)?.[1];
    if (backupId === undefined) {
      this.#note?.lines.push(line.slice(1));
      return;
    }
    this.#closeNote();
    const of = this.#found.get(`${this.#job}@${backupId}`);
    this.#note = of === undefined ? undefined : { of, lines: [] };
  }

  #closeNote(): void {
    if (this.#note === undefined) return;
    const { of, lines } = this.#note;
    of.note = parseNote(Buffer.from(lines.join('\n'), 'latin1').toString('utf8').trim(), of);
    this.#note = undefined;
  }

  #begin(name: string): RemoteBackup | undefined {
    const [job = '', backupId = ''] = name.split(' ');
    const begunAt = timeOf(backupId);
    if (!isJobName(job) || !isBackupId(backupId) || begunAt === undefined) return undefined;
    const backup = { job, backupId, begunAt, top: [], note: undefined };
    this.#found.set(`${job}@${backupId}`, backup);
    return backup;
  }
}
