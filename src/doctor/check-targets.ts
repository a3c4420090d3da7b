import type { JobConfig } from '../config/types.js';
import { preflightTarget } from '../copy/preflight-target.js';
import { FsbackupError } from '../errors.js';
import { ok, problem, type Finding } from './finding.js';

/** Whether each target of a job could take a backup now: the preflight of a run. Writes nothing. */
export async function checkTargets(job: JobConfig): Promise<Finding[]> {
  const sources = job.sources.map(({ path, exclude }) => ({ path, exclude }));
  return await Promise.all(
    job.targets.map(async (target) => {
      const check = `target-${job.name}`;
      try {
        await preflightTarget(target, job.name, sources);
        return ok(check, `${target.path} can take a backup`);
      } catch (error) {
        if (!(error instanceof FsbackupError)) throw error;
        return problem(check, error.message, { detail: error.hint });
      }
    }),
  );
}
