import type { CopySource } from '../copy/engine.js';
import type { RunContext } from './context.js';

/**
 * `sources`, in the order of the plan's trees, each with the name of what it is a state of: of the live tree, which a
 * snapshot is gone from when the next backup is made. One that cannot be named is like none before, and is read anew.
 */
export async function withOrigins(
  sources: readonly CopySource[],
  { plan, runId, dependencies }: Pick<RunContext, 'plan' | 'runId' | 'dependencies'>,
): Promise<CopySource[]> {
  return await Promise.all(
    sources.map(async (source, index) => {
      const filesystem = plan.sources[plan.trees[index]?.source ?? -1]?.filesystem;
      if (filesystem === undefined) throw new Error(`${source.path} is on no filesystem of the plan`);
      const origin = await dependencies.treeOrigin(filesystem, source.path).catch(() => `unknown ${runId}`);
      return { ...source, origin };
    }),
  );
}
