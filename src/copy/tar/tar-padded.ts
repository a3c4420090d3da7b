import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { copyFailure, copyStopped } from '../copy-error.js';
import { printable } from '../printable.js';
import type { TarArchive } from './tar-archive.js';
import { parseListing, unescapeName } from './tar-output.js';

/** Whether a member, by its name, one character per byte, is one of what is known not to be in the backup. */
export function isAmong(notInBackup: ReadonlySet<string>, member: string): boolean {
  return notInBackup.size > 0 && notInBackup.has(`/${printable(member)}`);
}

/** A pattern of tar for a name. A list of them is read by lines, and blanks at their ends are cut off. */
function patternOf(name: string): string {
  return name.replaceAll(/[\\*?[\]]/g, String.raw`\$&`).replaceAll(/\s/g, '?');
}

/**
 * The arguments that keep tar from extracting the files of an archive that are known not to be in the backup: of one that could
 * not be read to its end tar packs zeros in place of the rest, and would overwrite a whole one with that. So are names
 * of them. Directories stay. `scratch` is for a list.
 */
export async function withoutPadded(
  archive: TarArchive,
  { notInBackup = [], signal }: { notInBackup?: readonly string[] | undefined; signal: AbortSignal },
  scratch: string,
): Promise<string[]> {
  const lost = new Set(notInBackup);
  if (lost.size === 0) return [];
  const found: string[] = [];
  const result = await archive.tar(
    '--list',
    ['--verbose', '--verbose', '--quoting-style=escape', '--warning=no-timestamp', '--numeric-owner'],
    {
      signal,
      onStdoutLine: (line) => {
        const member = parseListing(line);
        if (member?.type === '-' && isAmong(lost, unescapeName(member.name)))
          found.push(unescapeName(member.name));
        if (member?.type !== 'h') return;
        const parts = member.name.split(' link to ');
        for (const index of parts.slice(1).keys()) {
          const target = unescapeName(parts.slice(index + 1).join(' link to '));
          if (isAmong(lost, target)) found.push(unescapeName(parts.slice(0, index + 1).join(' link to ')));
        }
      },
    },
  );
  if (signal.aborted) throw copyStopped();
  if (result.exitCode !== 0) throw copyFailure('tar', result);
  if (found.length === 0) return [];
  const list = path.join(scratch, 'padded');
  await writeFile(list, found.map((name) => `${patternOf(name)}\n`).join(''), 'latin1');
  return ['--anchored', '--wildcards', `--exclude-from=${list}`, '--no-wildcards'];
}
