import { lstat } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';
import type { BorgRepository } from './borg-repository.js';
import { probeAttributes } from '../repository/attribute-support.js';
import { closeWithoutAcl } from '../repository/lost-attributes.js';
import { aclOfText } from '../repository/posix-acl.js';
import type { Extraction } from '../repository/staged-restore.js';
import { printable } from '../printable.js';

/** What an archive tells of a file that has an ACL. */
export interface FileWithAcl {
  /** In the archive, one character for each byte. */
  path: string;
  /** As text; of a directory that has a default one alone, undefined. */
  access: string | undefined;
}

/** What it writes for bytes that are no UTF-8: them, in hexadecimal, after a DEL, with which no others begin. */
function binaryOf(told: string): string {
  return told.startsWith('\u{7f}')
    ? Buffer.from(told.slice(1), 'hex').toString('latin1')
    : Buffer.from(told, 'utf8').toString('latin1');
}

/**
 * Reads `borg debug dump-archive`, line by line: JSON that is indented by 4, of which each item is an object with its keys one step
 * further in, in the order of the alphabet. Nothing else tells of ACLs: neither a list nor a mount.
 */
export class DumpedAcls {
  readonly #found: (file: FileWithAcl) => void;
  #acl: Partial<Record<'acl_access' | 'acl_default', string>> = {};
  /** Whether it was a dump, to its end. */
  isWhole = false;

  constructor(found: (file: FileWithAcl) => void) {
    this.#found = found;
  }

  heard(line: string): void {
    if (line === '    {') this.#acl = {};
    this.isWhole ||= line === '}';
    const field = /^ {8}"(acl_access|acl_default|path)": (".*"),?$/.exec(line);
    if (field === null) return;
    const [, key = '', json = ''] = field;
    const value = binaryOf(JSON.parse(json) as string);
    if (key !== 'path') this.#acl = { ...this.#acl, [key]: value };
    else if (Object.keys(this.#acl).length > 0) this.#found({ path: value, access: this.#acl.acl_access });
  }
}

/**
 * Where the destination keeps no ACLs, of which borg 1.2 says nothing: names the files that have lost theirs, and takes from them
 * the rights that only the ACL bounded.
 */
export async function closeLostAcls(
  repository: BorgRepository,
  archive: string,
  { staged, directory, unreadable }: Extraction,
  signal: AbortSignal,
): Promise<void> {
  if ((await probeAttributes(directory)).acls) return;
  const withAcl: FileWithAcl[] = [];
  const dump = new DumpedAcls((file) => withAcl.push(file));
  const result = await repository.run(repository.argv('debug', 'dump-archive', `::${archive}`, '-'), {
    signal,
    onStdoutLine: (line) => dump.heard(line),
  });
  if (result.exitCode !== 0 || !dump.isWhole) throw repository.failure(result);
  for (const { path, access } of withAcl) {
    signal.throwIfAborted();
    const file = Buffer.concat([Buffer.from(`${staged}/`), Buffer.from(path, 'latin1')]);
    try {
      await lstat(file);
    } catch (error) {
      // It was not asked for.
      if (errnoOf(error) === 'ENOENT') continue;
      throw error;
    }
    unreadable.add(`/${printable(path)}`);
    if (access !== undefined) await closeWithoutAcl(file, aclOfText(access));
  }
}
