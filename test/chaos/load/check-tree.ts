import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { errnoOf } from '../../../src/errors.js';
import type { FileChange, LoadLog, Stall } from './load.js';

/** When the snapshot was taken: not before `beginMs`, not after `endMs`. */
export type SnapshotInterval = Stall;

function hex(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

/** What is wrong with the text of a log, a line each. */
export function checkLog(
  text: string,
  acknowledgedMs: readonly number[],
  { beginMs, endMs }: SnapshotInterval,
): string[] {
  const wrong: string[] = [];
  const lines = text.split('\n');
  if (lines.pop() !== '') wrong.push('the last record is torn');
  for (const [index, line] of lines.entries()) {
    const body = line.slice(0, line.lastIndexOf(' '));
    const [sequence, begun] = body.split(' ', 2).map(Number);
    if (hex(body) !== line.slice(body.length + 1)) wrong.push(`record ${index + 1} is damaged`);
    else if (sequence !== index + 1) wrong.push(`record ${sequence} stands where ${index + 1} should`);
    else if ((begun ?? 0) / 1e6 > endMs) wrong.push(`record ${sequence} was begun after the snapshot`);
  }
  const durable = acknowledgedMs.filter((at) => at < beginMs).length;
  if (lines.length < durable)
    wrong.push(`${durable} records were durable before the snapshot, and ${lines.length} are there`);
  return wrong;
}

/** The versions that a file may have had at the snapshot. */
export function possibleVersions(
  changes: readonly FileChange[],
  { beginMs, endMs }: SnapshotInterval,
): Set<number> {
  const before = changes.findLast((change) => change.endMs < beginMs);
  const during = changes.filter((change) => change.endMs >= beginMs && change.beginMs <= endMs);
  return new Set([before?.version ?? 0, ...during.map(({ version }) => version)]);
}

/** The version that a file's content says it is; a text that says what is wrong with it. */
function versionOf(file: number, content: string): number | string {
  const end = content.lastIndexOf('\n', content.length - 2);
  const [number, version, bytes] = content.slice(0, content.indexOf('\n')).split(' ').map(Number);
  if (end < 0 || hex(content.slice(0, end)) !== content.slice(end + 1, -1))
    return `file-${file} (${content.length} bytes) is damaged`;
  if (number !== file) return `file-${file} holds file-${number}`;
  return bytes === undefined || version === undefined ? `file-${file} has no version` : version;
}

/**
 * What is wrong with a restored directory of a load, a line each: against what the load itself said it had done. Where
 * `isCrash`, the snapshot is worth a power cut: of what was not fsynced the data may be missing.
 */
export async function checkTree(
  directory: string,
  log: LoadLog,
  interval: SnapshotInterval,
  isCrash = false,
): Promise<string[]> {
  const epoch = path.join(directory, `epoch-${log.epoch}`);
  const names = await readdir(epoch).catch((error: unknown) => [`unreadable: ${errnoOf(error)}`]);
  const wrong = names.filter((name) => !/^(?:log|(?:file|new)-\d+)$/.test(name)).map((name) => `${name}?`);
  const text = await readFile(path.join(epoch, 'log'), 'utf8').catch((error: unknown) => `${errnoOf(error)}`);
  wrong.push(...checkLog(text, log.acknowledgedMs, interval));
  for (const [file, changes] of log.files) {
    const possible = possibleVersions(changes, interval);
    const content = await readFile(path.join(epoch, `file-${file}`), 'utf8').catch(() => undefined);
    const version = content === undefined ? 0 : versionOf(file, content);
    if (typeof version === 'string') wrong.push(...(isCrash ? [] : [version]));
    else if (!possible.has(version))
      wrong.push(`file-${file} has version ${version}, and not one of ${[...possible].join(', ')}`);
  }
  return wrong;
}
