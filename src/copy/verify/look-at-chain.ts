import type { CompleteBackup } from '../backup/backup-list.js';
import type { Differences } from '../digests/digest-compare.js';
import type { VerifyFindings } from '../engine.js';
import { lookAtBackup, type VerifyOptions } from './look-at-backup.js';
import { totalsOf } from '../backup/manifest.js';
import { neededBackups } from '../backup/needed-backups.js';
import { outcomeOf, type NeededReport } from './verify-outcome.js';

/** What was found in backups, each by itself, so that one that several need is read once. */
export class Looks {
  readonly #found = new Map<string, VerifyFindings>();

  /** As `lookAtBackup`; at once for what was looked at before. */
  async at(options: VerifyOptions): Promise<VerifyFindings> {
    const { target, job, backupId } = options.backup;
    const key = JSON.stringify([options.mode, target, job, backupId]);
    const found = this.#found.get(key) ?? (await lookAtBackup(options));
    this.#found.set(key, found);
    return found;
  }
}

/** What was found in a backup and in what it needs, as one. */
export interface ChainFindings {
  backup: CompleteBackup;
  findings: VerifyFindings;
  /** For its report. */
  facts: { needs?: NeededReport[] };
}

/** The first thing that is wrong. */
function firstOf({
  problems,
  changed,
  missing,
  extra,
}: Differences & Pick<VerifyFindings, 'problems'>): string {
  const [problem] = problems;
  if (problem !== undefined) return problem;
  const samples = { changed, missing, 'not in the list': extra };
  const [what, { paths }] = Object.entries(samples).find(([, { count }]) => count > 0) ?? ['', { paths: [] }];
  return `${what}: ${paths[0] ?? ''}`;
}

/** What was found in one backup by itself. */
interface Own {
  backup: CompleteBackup;
  findings: VerifyFindings;
}

/** One's own findings, with what those of the others mean for it. `missing`: what it needs and is not there. */
function withNeeded(
  { backup, findings }: Own,
  needed: readonly Own[],
  missing: readonly string[],
): ChainFindings {
  const reports = needed.map((one) => ({
    backupId: one.backup.backupId,
    outcome: outcomeOf(one.findings, 'full'),
    bytes: one.findings.bytes,
  }));
  const bad = needed
    .filter((_, index) => reports[index]?.outcome === 'failed')
    .map(
      (one) =>
        `it needs the backup ${one.backup.backupId}, which is not what it was: ${firstOf(one.findings)}`,
    );
  const sum = (key: 'bytes' | 'withoutDigest'): number =>
    needed.reduce((total, one) => total + one.findings[key], findings[key]);
  return {
    backup,
    findings: {
      ...findings,
      bytes: sum('bytes'),
      withoutDigest: sum('withoutDigest'),
      // Some engines see themselves that one is not there.
      problems: [...new Set([...findings.problems, ...bad, ...missing])],
    },
    facts: reports.length === 0 ? {} : { needs: reports },
  };
}

/**
 * Looks at a backup and at what it needs: with `quick` that all of that is there, with `full` at every byte. `needed` has
 * each of those with what it needs itself; empty for `quick`. Rejects as `lookAtBackup`.
 */
export async function lookAtChain(
  options: VerifyOptions,
  looks: Looks,
): Promise<ChainFindings & { needed: ChainFindings[] }> {
  const { backup, mode, onProgress } = options;
  const { found, problems } = await neededBackups(backup);
  const read = mode === 'full' ? found : [];
  const totals = [...read, backup].map(({ manifest }) => totalsOf(manifest).totalBytes ?? 0);
  const totalBytes = totals.reduce((sum, bytes) => sum + bytes, 0);
  let before = 0;
  const lookAt = async (one: CompleteBackup): Promise<Own> => {
    const findings = await looks.at({
      ...options,
      backup: one,
      onProgress: (progress) =>
        onProgress(
          read.length === 0 ? progress : { ...progress, bytes: before + progress.bytes, totalBytes },
        ),
    });
    before += findings.bytes;
    return { backup: one, findings };
  };
  const owns: Own[] = [];
  const needed: ChainFindings[] = [];
  for (const one of read) {
    const own = await lookAt(one);
    const below = await neededBackups(one);
    const ids = new Set(below.found.map(({ backupId }) => backupId));
    needed.push(
      withNeeded(
        own,
        owns.filter((each) => ids.has(each.backup.backupId)),
        below.problems,
      ),
    );
    owns.push(own);
  }
  return { ...withNeeded(await lookAt(backup), owns, problems), needed };
}
