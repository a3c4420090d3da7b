import type { SnapshotCommands } from '../config/types.js';
import type { SnapshotRef } from './provider.js';

/** A program and its arguments. */
export type Argv = readonly [string, ...string[]];

/** What stands for `{name}`, `{device}` and so on. */
export interface Placeholders {
  name: string;
  device: string;
  mountpoint: string;
  /** For `expose` and `unexpose` alone. */
  directory?: string;
}

/**
 * Replaces the placeholders, also inside of arguments, once: a value that looks like a placeholder stays as it is.
 * What is no known placeholder stays too, so that `{}` and JSON can be arguments.
 */
export function fillIn(argv: Argv, values: Placeholders): [string, ...string[]] {
  const [program, ...args] = argv;
  const fill = (text: string): string =>
    text.replaceAll(
      /\{(name|device|mountpoint|directory)\}/g,
      (placeholder, key: keyof Placeholders) => values[key] ?? placeholder,
    );
  return [fill(program), ...args.map(fill)];
}

/** The commands as data of a ref, so that a later process without the configuration can release what it names. */
export function commandsData(commands: SnapshotCommands): Record<string, string> {
  return Object.fromEntries(
    Object.entries(commands).flatMap(([key, argv]) =>
      argv === undefined ? [] : [[key, JSON.stringify(argv)]],
    ),
  );
}

/** One of the commands in a ref's data; undefined for an optional one that was not configured. */
export function commandOf(ref: SnapshotRef, key: 'create' | 'expose' | 'remove'): Argv;
export function commandOf(ref: SnapshotRef, key: keyof SnapshotCommands): Argv | undefined;
export function commandOf(ref: SnapshotRef, key: keyof SnapshotCommands): Argv | undefined {
  const text = ref.data[key];
  const isOptional = key === 'exists' || key === 'unexpose';
  if (text === undefined && isOptional) return undefined;
  const argv: unknown = JSON.parse(text ?? 'null');
  if (!Array.isArray(argv) || !argv.every((argument) => typeof argument === 'string')) {
    throw new Error(`the snapshot ${ref.name} has no ${key} command in its data`);
  }
  const [program, ...args] = argv;
  if (program === undefined) throw new Error(`the ${key} command of the snapshot ${ref.name} is empty`);
  return [program, ...args];
}
