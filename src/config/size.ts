import type { SnapshotSize } from '../snapshots/provider.js';

const UNIT_BYTES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

function isUnit(text: string | undefined): text is keyof typeof UNIT_BYTES {
  return text !== undefined && Object.hasOwn(UNIT_BYTES, text);
}

/** `5GiB`, `1.5MiB`, `512B` in whole bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text) ?? [];
  if (amount === undefined || !isUnit(unit)) return undefined;
  return Math.round(Number(amount) * UNIT_BYTES[unit]);
}

/** `90%` as 90; undefined for anything else. */
export function parsePercent(text: string): number | undefined {
  const [, amount] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  return amount === undefined ? undefined : Number(amount);
}

/** The shortest exact form that `parseSize` reads back. */
export function formatSize(bytes: number): string {
  const units = Object.entries(UNIT_BYTES).toReversed();
  const [name, unit] = units.find(([, size]) => bytes >= size && bytes % size === 0) ?? ['B', 1];
  return `${bytes / unit}${name}`;
}

/** `auto`, `20%ORIGIN`, `5GiB` as the size of a classic LVM snapshot; undefined for anything else. */
export function parseSnapshotSize(text: string): SnapshotSize | undefined {
  if (text === 'auto') return text;
  const [, share] = /^(.+%)ORIGIN$/.exec(text) ?? [];
  const percentOfOrigin = share === undefined ? undefined : parsePercent(share);
  if (percentOfOrigin !== undefined && percentOfOrigin > 0) return { percentOfOrigin };
  const bytes = parseSize(text);
  return bytes === undefined || bytes === 0 ? undefined : { bytes };
}

/** What `parseSnapshotSize` reads back. */
export function formatSnapshotSize(size: SnapshotSize): string {
  if (size === 'auto') return size;
  return 'bytes' in size ? formatSize(size.bytes) : `${size.percentOfOrigin}%ORIGIN`;
}
