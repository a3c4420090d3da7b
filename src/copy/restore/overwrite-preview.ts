import { lstat } from 'node:fs/promises';
import { errnoOf } from '../../errors.js';
import { asLines } from '../../report/controls.js';
import { formatFiles } from '../../report/format.js';
import { bytesOfPath } from '../byte-path.js';
import type { BackupEntry } from '../engine.js';
import { printable } from '../printable.js';
import { parentsOf } from '../source-layout.js';

/** What a restore in place would meet. */
export interface OverwritePreview {
  /** Entries of the backup that are asked for, directories apart. */
  files: number;
  /** How many of them are there now: overwritten where they differ. */
  existing: number;
  /** The first of those. */
  sample: string[];
}

const SHOWN = 10;

async function exists(file: string): Promise<boolean> {
  try {
    await lstat(bytesOfPath(file));
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Looks which of the wanted entries are there now. Writes nothing. */
export async function previewOverwrite(
  entries: AsyncIterable<BackupEntry>,
  paths: readonly string[],
): Promise<OverwritePreview> {
  const wanted = new Set(paths);
  const preview: OverwritePreview = { files: 0, existing: 0, sample: [] };
  for await (const { path, isDirectory } of entries) {
    if (isDirectory) continue;
    const isWanted =
      wanted.has('/') || wanted.has(path) || parentsOf(path).some((parent) => wanted.has(parent));
    if (!isWanted) continue;
    preview.files += 1;
    if (!(await exists(path))) continue;
    preview.existing += 1;
    if (preview.sample.length < SHOWN) {
      preview.sample.push(printable(bytesOfPath(path).toString('latin1')));
    }
  }
  return preview;
}

/** The question of a restore in place, without the question mark. */
export function renderPreview(
  preview: OverwritePreview,
  {
    name,
    completedAt,
    taken,
    paths,
  }: {
    name: string;
    completedAt: string;
    /** Of which instant the data is, where that is known. */
    taken?: string | undefined;
    paths: readonly string[];
  },
): string {
  const { files, existing, sample } = preview;
  const shown = paths.slice(0, SHOWN);
  const more = (count: number): string[] => (count > 0 ? [`    and ${count} more`] : []);
  return asLines([
    `Restore ${formatFiles(files)} of ${name}, completed ${completedAt}${taken === undefined ? '' : `, data of ${taken}`}, to where they were:`,
    ...shown.map((one) => `    ${one}`),
    ...more(paths.length - shown.length),
    existing === 0
      ? 'None of them is there now.'
      : existing === 1
        ? 'One of them is there now, and is overwritten where it differs:'
        : `${existing} of them are there now, and are overwritten where they differ:`,
    ...sample.map((one) => `    ${one}`),
    ...more(existing - sample.length),
    'Nothing is deleted: what is not in the backup stays.',
  ]);
}
