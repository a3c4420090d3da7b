/** Where a machine may be too slow for all runs of a campaign: none is begun later than `ms`, except of the first `atLeast`. */
export interface Budget {
  ms: number;
  atLeast: number;
}

/** Whether no further run may be begun once `done` have ended, `elapsedMs` after the first began. */
export function isSpent({ ms, atLeast }: Budget, done: number, elapsedMs: number): boolean {
  return done >= atLeast && elapsedMs > ms;
}
