import type { VerifyFindings } from '../engine.js';
import type { VerifyRecord } from './verify-history.js';

/** What findings come to. */
export function outcomeOf(findings: VerifyFindings, mode: VerifyRecord['mode']): VerifyRecord['outcome'] {
  const { changed, missing, extra, problems } = findings;
  if (changed.count + missing.count + extra.count + problems.length > 0) return 'failed';
  return mode !== 'quick' && findings.withoutDigest > 0 ? 'unproven' : 'ok';
}

/** What was found in one of the backups that another needs, by itself. */
export interface NeededReport {
  backupId: string;
  outcome: VerifyRecord['outcome'];
  bytes: number;
}
