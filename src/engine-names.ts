import type { ProviderName } from './snapshots/provider.js';

/** Where the backups of an engine can lie: in a directory (`path`), or in what only the engine can read. */
export type EngineStorage = 'path' | 'repository';

interface EngineTraits {
  storage: readonly EngineStorage[];
  /** A repository without a scheme (`sftp:`) is a directory of this host. Absent: its name is a name, and no path. */
  isRepositoryDirectory?: true;
  /** Of one that keeps backups in both: a word is a repository, and a directory is written as a path. */
  wordsNameRepositories?: true;
  /**
   * Of an engine that sends whole snapshots, and not what can be seen in them: the kinds that it can send. It knows no
   * patterns, and an increment needs the snapshot before, which is kept for that.
   */
  sends?: readonly ProviderName[];
  /**
   * What a backup shares with those before it, so that what is bad there is bad in it: files that did not change, what an
   * increment is made of, or whatever a repository has already. Absent: nothing.
   */
  shares?: 'files' | 'increments' | 'repository';
}

/**
 * The engines that there are, and where each can keep its backups. A name is added here when its engine can do all
 * that an engine must: the configuration, manifests, the journal and reports accept these and no others.
 */
const ENGINES = {
  rsync: { storage: ['path', 'repository'], shares: 'files' },
  tar: { storage: ['path', 'repository'] },
  restic: { storage: ['repository'], isRepositoryDirectory: true, shares: 'repository' },
  borg: { storage: ['repository'], isRepositoryDirectory: true, shares: 'repository' },
  command: { storage: ['repository'] },
  image: { storage: ['path'], sends: ['reflink', 'lvm', 'mirror', 'zfs', 'command'], shares: 'increments' },
  'btrfs-send': { storage: ['path'], sends: ['btrfs'], shares: 'increments' },
  'zfs-send': {
    storage: ['path', 'repository'],
    wordsNameRepositories: true,
    sends: ['zfs'],
    shares: 'increments',
  },
} as const satisfies Readonly<Record<string, EngineTraits>>;

/** The names that a configuration may use. */
export type EngineName = keyof typeof ENGINES;

// Object.keys knows only strings.
export const ENGINE_NAMES = Object.keys(ENGINES) as [EngineName, ...EngineName[]];

/** Whether an engine can keep backups there. */
export function canKeepIn(engine: EngineName, storage: EngineStorage): boolean {
  const { storage: kinds }: EngineTraits = ENGINES[engine];
  return kinds.includes(storage);
}

/** Whether a repository of an engine, named without a scheme, is a directory of this host. */
export function isRepositoryDirectory(engine: EngineName): boolean {
  const traits: EngineTraits = ENGINES[engine];
  return traits.isRepositoryDirectory === true;
}

/** Whether a word on a command line, written as no path, is a repository of an engine that writes to directories too. */
export function wordsNameRepositories(engine: EngineName): boolean {
  const traits: EngineTraits = ENGINES[engine];
  return traits.wordsNameRepositories === true;
}

/** The kinds of snapshot that an engine can send; undefined for one that copies what it sees in any of them. */
export function sendableBy(engine: EngineName): readonly ProviderName[] | undefined {
  const { sends }: EngineTraits = ENGINES[engine];
  return sends;
}

/** What the backups of an engine share with those before them; undefined: nothing. */
export function sharedBy(engine: EngineName): EngineTraits['shares'] {
  const { shares }: EngineTraits = ENGINES[engine];
  return shares;
}
