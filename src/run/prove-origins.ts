import { FsbackupError } from '../errors.js';
import type { FreezeTarget } from '../freeze/freezer.js';
import type { PlannedSource } from '../plan/plan.js';
import type { RunContext } from './context.js';

async function prove(target: FreezeTarget, { plan, dependencies }: RunContext): Promise<void> {
  const freezer = await dependencies.arm({ targets: [target], devices: [] }, plan.freeze);
  try {
    await freezer.freeze();
    await freezer.thaw();
  } finally {
    await freezer.close();
  }
}

/**
 * Looks at the origins whose snapshot may have left them frozen, or unable to be frozen, on this kernel: by a freeze of
 * an instant, with the dead-man over it as over every other. What does not stand it is a warning; a thaw that failed
 * rejects.
 */
export async function proveOrigins(sources: readonly PlannedSource[], context: RunContext): Promise<void> {
  for (const { mountpoint, majorMinor, device, fstype } of sources) {
    try {
      await prove({ mountpoint, majorMinor, device, fstype }, context);
    } catch (error) {
      if (!(error instanceof FsbackupError) || error.code === 'thawFailed') throw error;
      context.warn(
        `${mountpoint} could not be frozen and thawed after its snapshot (${error.message}): see \`fsbackup status\` and \`dmesg\``,
      );
    }
  }
}
