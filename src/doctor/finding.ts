/** `ok`; `warning`: it works, with less than the full guarantee; `problem`: something that was asked for cannot work. */
export type FindingStatus = 'ok' | 'warning' | 'problem';

/** One thing that was looked at. */
export interface Finding {
  /** Stable name: `root`, `nested-freeze`, `tool-rsync`. */
  check: string;
  status: FindingStatus;
  /** One clause, as a person would say it. */
  summary: string;
  /** What it means, or what to do where no single command does it. */
  detail: string | null;
  /** The command that mends it. */
  fix: string | null;
}

type Rest = Partial<Pick<Finding, 'detail' | 'fix'>>;

function make(status: FindingStatus, check: string, summary: string, { detail, fix }: Rest): Finding {
  return { check, status, summary, detail: detail ?? null, fix: fix ?? null };
}

export function ok(check: string, summary: string, rest: Rest = {}): Finding {
  return make('ok', check, summary, rest);
}

export function warning(check: string, summary: string, rest: Rest = {}): Finding {
  return make('warning', check, summary, rest);
}

export function problem(check: string, summary: string, rest: Rest = {}): Finding {
  return make('problem', check, summary, rest);
}

/** The worst of several; `ok` for none. */
export function worstStatus(findings: readonly Finding[]): FindingStatus {
  const has = (status: FindingStatus): boolean => findings.some((finding) => finding.status === status);
  return has('problem') ? 'problem' : has('warning') ? 'warning' : 'ok';
}
