import type { EngineName } from './engine-names.js';

/** What the commands of a target are for, and what nobody can do without one. */
const PURPOSES = {
  check: 'look whether it can take a backup',
  copy: 'copy',
  write: 'write a backup',
  read: 'read a backup back',
  size: 'tell the size of a backup',
  restore: 'restore',
  list: 'list what is in a backup',
  verify: 'verify a backup',
  remove: 'remove a backup',
} as const;

/** The name of a command of a target. */
export type TargetCommand = keyof typeof PURPOSES;

/** The argument arrays that an engine is to run. */
export type TargetCommands = Readonly<Partial<Record<TargetCommand, readonly string[]>>>;

/** What exit codes of these commands, other than 0, mean. */
export interface TargetExitCodes {
  /** Copied, but for some files that could not be read. */
  partial?: number;
  /** The connection was lost: worth another try. */
  retry?: number;
}

interface EngineCommands {
  needed: readonly TargetCommand[];
  optional: readonly TargetCommand[];
}

/** Of the engines that reach their repositories by commands alone. */
const COMMANDS: Readonly<Partial<Record<EngineName, EngineCommands>>> = {
  tar: { needed: ['write', 'read'], optional: ['check', 'size', 'remove'] },
  command: { needed: ['copy'], optional: ['check', 'restore', 'list', 'verify', 'remove'] },
};

/** The commands of an engine; undefined for one that has none. */
export function commandsOf(engine: EngineName): EngineCommands | undefined {
  return COMMANDS[engine];
}

/** What a command is for, as the end of "there is no command to …". */
export function purposeOf(command: TargetCommand): string {
  return PURPOSES[command];
}
