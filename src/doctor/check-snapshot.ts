import { FsbackupError } from '../errors.js';
import type { Plan, PlannedSource } from '../plan/plan.js';
import type { SnapshotProvider } from '../snapshots/provider.js';
import { ok, problem, type Finding } from './finding.js';

/** The provider that a planned source names. */
export type ProviderOf = (source: PlannedSource) => Pick<SnapshotProvider, 'prepare'>;

/** A source, by its index in the plan. */
type Member = readonly [number, PlannedSource];

/** Why they cannot be snapshotted together; undefined when they can. */
async function refusalOf(
  members: readonly Member[],
  providerOf: ProviderOf,
): Promise<FsbackupError | undefined> {
  const [[, first] = []] = members;
  if (first === undefined) return undefined;
  try {
    await providerOf(first).prepare(
      members.map(([index, source]) => ({ ...source, name: `fsbackup-doctor-${index}` })),
    );
    return undefined;
  } catch (error) {
    if (error instanceof FsbackupError) return error;
    throw error;
  }
}

function refused(error: FsbackupError): Finding {
  return problem('snapshot', error.message, { detail: error.hint });
}

/** As a run prepares them, all at once; where that fails, those are told of that fail alone, else all. */
async function checkTogether(
  members: readonly Member[],
  providerOf: ProviderOf,
): Promise<[number, Finding][]> {
  const together = await refusalOf(members, providerOf);
  const findings: [number, Finding][] = [];
  const others: Member[] = [];
  for (const member of members) {
    const alone =
      together === undefined || members.length === 1 ? together : await refusalOf([member], providerOf);
    if (alone === undefined) others.push(member);
    else findings.push([member[0], refused(alone)]);
  }
  const left = findings.length === 0 ? together : await refusalOf(others, providerOf);
  for (const [index, { provider }] of others) {
    findings.push([
      index,
      left === undefined ? ok('snapshot', `${provider} could snapshot it now`) : refused(left),
    ]);
  }
  return findings;
}

/**
 * Whether the providers could make the snapshots now, by index of the plan's sources: their own preparation, which proves
 * tools, room and support, and makes nothing. As in a run, those of one window share the room there is. That of an image
 * file clones the image ahead, so it is left to the run.
 */
export async function checkSnapshots(
  { sources, windows }: Pick<Plan, 'sources' | 'windows'>,
  providerOf: ProviderOf,
): Promise<Map<number, Finding>> {
  const findings = new Map<number, Finding>();
  for (const window of windows) {
    const groups = new Map<string, Member[]>();
    for (const index of window.snapshots) {
      const source = sources[index];
      if (source === undefined || source.provider === 'none' || source.provider === 'reflink') continue;
      const key = JSON.stringify([source.provider, source.commands]);
      groups.set(key, [...(groups.get(key) ?? []), [index, source]]);
    }
    for (const members of groups.values()) {
      for (const [index, finding] of await checkTogether(members, providerOf)) findings.set(index, finding);
    }
  }
  return findings;
}
