import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { asJson, withoutControls } from '../../report/controls.js';
import { isWithin } from '../../system/mountinfo.js';
import { nulTerminated } from '../byte-path.js';
import type { BackupEntry } from '../engine.js';
import { compilePattern, isPattern } from '../restore/path-pattern.js';

/** One of what somebody asks for. */
interface Wanted {
  written: string;
  matches: (entry: string) => boolean;
  isFound: boolean;
}

/** A path stands for what lies in it, too; a pattern, and a name without a slash, for what a restore of it would bring. */
function wantedOf(written: string): Wanted {
  if (path.isAbsolute(written) && !isPattern(written)) {
    const directory = path.normalize(written).replace(/(?<=.)\/$/, '');
    return { written, matches: (entry) => isWithin(entry, directory), isFound: false };
  }
  return { written, matches: compilePattern(written), isFound: false };
}

/**
 * The entries of a backup that lie at these paths or match these patterns; without any, all. A stream: memory does not grow with
 * them. Rejects with `usage`, at its end, where one of them matched nothing.
 */
export async function* listFiles(
  entries: AsyncIterable<BackupEntry>,
  asked: readonly string[],
): AsyncGenerator<BackupEntry> {
  const wanted = asked.map(wantedOf);
  for await (const entry of entries) {
    let isWanted = wanted.length === 0;
    for (const one of wanted) {
      if (!one.matches(entry.path)) continue;
      one.isFound = true;
      isWanted = true;
    }
    if (isWanted) yield entry;
  }
  const missing = wanted.filter(({ isFound }) => !isFound).map(({ written }) => written);
  if (missing.length > 0) {
    throw new FsbackupError('usage', `nothing in the backup is, or matches, ${missing.join(', ')}`, {
      hint: "Name paths as they were on the live system, such as /srv/www, or patterns: '*.conf', '/srv/**/*.html'.",
    });
  }
}

/** How a list of files is written. */
export type FilesFormat = 'lines' | 'null' | 'json';

const AT_ONCE = 1000;

async function* batches(entries: AsyncIterable<BackupEntry>): AsyncGenerator<BackupEntry[]> {
  let batch: BackupEntry[] = [];
  for await (const entry of entries) {
    batch.push(entry);
    if (batch.length < AT_ONCE) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

function asLine({ path: name, isDirectory }: BackupEntry): string {
  return `${withoutControls(name)}${isDirectory && name !== '/' ? '/' : ''}\n`;
}

/**
 * The text of a list, piece by piece: a line each, directories with a slash at their end; NUL-terminated names, as they are; or one
 * object, `head` being its first keys.
 */
export async function* renderFiles(
  entries: AsyncIterable<BackupEntry>,
  format: FilesFormat,
  head: Readonly<Record<string, unknown>>,
): AsyncGenerator<string | Buffer> {
  let separator = '';
  if (format === 'json') yield `${asJson({ version: 1, ...head }).slice(0, -1)},"files":[`;
  for await (const batch of batches(entries)) {
    if (format === 'lines') yield batch.map(asLine).join('');
    else if (format === 'null') yield nulTerminated(batch.map((entry) => entry.path));
    else if (batch.length > 0) {
      const objects = batch.map(({ path: name, isDirectory }) => asJson({ path: name, isDirectory }));
      yield `${separator}\n${objects.join(',\n')}`;
      separator = ',';
    }
  }
  if (format === 'json') yield '\n]}\n';
}
