/** Where the backups of an engine can lie: in a directory (`path`), or in what only the engine can read. */
export type EngineStorage = 'path' | 'repository';

/**
 * The engines that there are, and where each can keep its backups. A name is added here when its engine can do all
 * that an engine must: the configuration, manifests, the journal and reports accept these and no others.
 */
const ENGINES = {
  rsync: ['path'],
  tar: ['path'],
  restic: ['repository'],
  borg: ['repository'],
} as const satisfies Readonly<Record<string, readonly EngineStorage[]>>;

/** The names that a configuration may use. */
export type EngineName = keyof typeof ENGINES;

// Object.keys knows only strings.
export const ENGINE_NAMES = Object.keys(ENGINES) as [EngineName, ...EngineName[]];

/** Whether an engine can keep backups there. */
export function canKeepIn(engine: EngineName, storage: EngineStorage): boolean {
  const kinds: readonly EngineStorage[] = ENGINES[engine];
  return kinds.includes(storage);
}
