import type { JobConfig } from '../config/types.js';
import { examineTarget } from '../copy/target/examine-target.js';
import { targetName } from '../backup-target.js';
import { FsbackupError } from '../errors.js';
import { ok, problem, type Finding } from './finding.js';

/** Whether each target of a job could take a backup now: the preflight of a run. Writes nothing. */
export async function checkTargets(job: JobConfig): Promise<Finding[]> {
  const sources = job.sources.map(({ path, exclude }) => ({ path, exclude }));
  return await Promise.all(
    job.targets.map(async (target) => {
      const check = `target-${job.name}`;
      try {
        const found = await examineTarget({ target, job: job.name, sources });
        if (found === 'absent') return ok(check, `${targetName(target)} is made by the first run`);
        return ok(check, `${targetName(target)} can take a backup`);
      } catch (error) {
        if (!(error instanceof FsbackupError)) throw error;
        return problem(check, error.message, { detail: error.hint });
      }
    }),
  );
}
