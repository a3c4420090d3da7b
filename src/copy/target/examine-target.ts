import type { EngineTarget } from '../../backup-target.js';
import { engineFor, type EngineFor } from '../engines.js';
import { examineRepository } from '../repository/preflight-repository.js';
import { preflightTarget, type SourceToCheck, type TargetToCheck } from './preflight-target.js';

/** A target that a job is to be backed up into. */
export interface TargetToExamine {
  target: TargetToCheck & EngineTarget;
  job: string;
  sources: readonly SourceToCheck[];
}

/**
 * Looks whether a target could take a backup of a job now, as the preflight of a run does, and writes nothing. `absent`:
 * a repository that the first run makes. Rejects with `usage`.
 */
export async function examineTarget(
  { target, job, sources }: TargetToExamine,
  engines: EngineFor = engineFor,
): Promise<'there' | 'absent'> {
  const engine = engines(target);
  await engine.preflight();
  if (target.repository !== undefined) return await examineRepository({ target, job, engine });
  await preflightTarget(target, job, sources);
  return 'there';
}
