import { FsbackupError } from '../errors.js';
import type { PlannedSource } from '../plan/plan.js';
import type { RunContext } from './context.js';
import { OriginProbe } from './origin-probe.js';
import { freezeTarget } from './prepare-window.js';

async function prove(origin: PlannedSource, { plan, dependencies }: RunContext): Promise<void> {
  const probe = await OriginProbe.arm([freezeTarget(origin)], dependencies.arm, plan.freeze);
  try {
    await probe.probe();
  } finally {
    await probe.close();
  }
}

/**
 * Looks at the origins whose snapshot may have left them frozen, or unable to be frozen, on this kernel: by a freeze of
 * an instant, with the dead-man over it as over every other. What does not stand it is a warning; a thaw that failed
 * rejects.
 */
export async function proveOrigins(sources: readonly PlannedSource[], context: RunContext): Promise<void> {
  for (const source of sources) {
    try {
      await prove(source, context);
    } catch (error) {
      if (!(error instanceof FsbackupError) || error.code === 'thawFailed') throw error;
      context.warn(
        `${source.mountpoint} could not be frozen and thawed after its snapshot (${error.message}): see \`fsbackup status\` and \`dmesg\``,
      );
    }
  }
}
