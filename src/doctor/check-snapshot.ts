import { FsbackupError } from '../errors.js';
import type { PlannedSource } from '../plan/plan.js';
import type { SnapshotProvider } from '../snapshots/provider.js';
import { ok, problem, type Finding } from './finding.js';

/** The provider that a planned source names. */
export type ProviderOf = (source: PlannedSource) => Pick<SnapshotProvider, 'prepare'>;

/**
 * Whether the provider could make the snapshot now: its own preparation, which proves tools, room and support, and
 * makes nothing. That of an image file does: it clones the image ahead, so it is left to the run.
 */
export async function checkSnapshot(source: PlannedSource, providerOf: ProviderOf): Promise<Finding[]> {
  if (source.provider === 'none' || source.provider === 'reflink') return [];
  try {
    await providerOf(source).prepare([{ ...source, name: 'fsbackup-doctor' }]);
    return [ok('snapshot', `${source.provider} could snapshot it now`)];
  } catch (error) {
    if (!(error instanceof FsbackupError)) throw error;
    return [problem('snapshot', error.message, { detail: error.hint })];
  }
}
