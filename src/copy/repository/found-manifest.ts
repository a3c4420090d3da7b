import { fsbackupVersion } from '../../system/version.js';
import type { EngineName } from '../../engine-names.js';
import type { FoundBackup } from './found-backup.js';
import type { Manifest } from '../backup/manifest.js';

/**
 * A manifest made of what a repository tells of a backup. What the run alone knew is not in it: how long a filesystem was
 * frozen, its warnings, and what could not be read, unless the engine noted it. A consistency that was not noted is `none`.
 */
export function manifestOfFound(found: FoundBackup, engine: EngineName, repository: string): Manifest {
  const {
    job,
    backupId,
    completedAt,
    host,
    files,
    bytes,
    consistency = 'none',
    digests,
    doubts = [],
  } = found;
  const unnoted =
    found.consistency === undefined ? ['how consistent it is was not noted in the repository'] : [];
  return {
    version: 1,
    fsbackupVersion: fsbackupVersion(),
    job,
    backupId,
    engine,
    completedAt,
    sources: [...found.sources],
    files: files ?? 0,
    bytes: bytes ?? 0,
    unreadable: [...(found.unreadable ?? [])],
    tools: {},
    ...(digests === undefined ? {} : { digests }),
    found: { host, isSized: files !== undefined && bytes !== undefined },
    report: {
      version: 1,
      job,
      runId: backupId,
      outcome: 'success',
      exitCode: 0,
      consistency,
      oneInstant: null,
      startedAt: completedAt,
      finishedAt: completedAt,
      freeze: { timeoutSeconds: null, heartbeatSeconds: null, maxHoldSeconds: 0 },
      sources: [],
      copies: [{ target: repository, engine, backupId, bytes: bytes ?? 0, files: files ?? 0, durationMs: 0 }],
      steps: [],
      warnings: [
        `read from the repository: what the run on ${host === '' ? 'an unknown host' : host} told of it is not known here`,
        ...unnoted,
        ...doubts,
      ],
    },
  };
}
