/** A statement that may be deleted, and no test sees it. */
export interface Kept {
  source: string;
  text: string;
  /** Why it stands there all the same, or what keeps it from being tested. */
  because: string;
}

export const KEPT: readonly Kept[] = [];
