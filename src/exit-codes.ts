/**
 * The one map of exit codes. Help texts, docs and errors are generated from it; scripts rely on it, so a
 * number never changes its meaning.
 */
export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done' },
  failed: { code: 1, meaning: 'failed otherwise' },
  usage: { code: 2, meaning: 'command line or configuration' },
  warnings: { code: 3, meaning: 'done, with warnings or partial' },
  locked: { code: 11, meaning: 'another run holds the lock' },
  notFrozen: { code: 20, meaning: 'not frozen: the state of the host (foreign freeze, unsupported, in use)' },
  freezeLost: { code: 21, meaning: 'the freeze was lost (timeout, third party); snapshot discarded' },
  thawFailed: { code: 22, meaning: 'thaw failed: may still be frozen' },
  snapshotFailed: { code: 30, meaning: 'snapshot failed' },
  snapshotInvalid: { code: 31, meaning: 'snapshot overflowed, was invalidated or taken away' },
  copyFailed: { code: 40, meaning: 'copy failed' },
  copyPartial: { code: 41, meaning: 'copied, but some files could not be read' },
  verifyFailed: { code: 50, meaning: 'verify failed' },
  cleanupIncomplete: { code: 60, meaning: 'clean-up incomplete: something is still held' },
  bug: { code: 70, meaning: 'a bug in fsbackup' },
  hangup: { code: 129, meaning: 'interrupted by HUP, all released' },
  interrupted: { code: 130, meaning: 'interrupted by INT, all released' },
  terminated: { code: 143, meaning: 'interrupted by TERM, all released' },
} as const;

/** The stable name of an exit code. */
export type ExitName = keyof typeof EXIT_CODES;

/** The number a process exits with for `name`. */
export function exitCode(name: ExitName): number {
  return EXIT_CODES[name].code;
}

/** Worst first: what several jobs, or several failures of one job, exit with together. */
const SEVERITY: readonly ExitName[] = [
  'thawFailed',
  'cleanupIncomplete',
  'bug',
  'freezeLost',
  'snapshotInvalid',
  'snapshotFailed',
  'verifyFailed',
  'copyFailed',
  'copyPartial',
  'notFrozen',
  'locked',
  'failed',
  // Of a target that was left out: that there is no backup at all, or one that lacks something, is worse.
  'usage',
  'warnings',
];

/** Something is still held: that is told before all else, since nobody else may know. */
const HELD: readonly ExitName[] = ['thawFailed', 'cleanupIncomplete'];

/**
 * The exit code of several outcomes together: the worst of them. A code that is not in the severity order
 * (a signal) outranks all others but those that say that something is still held, since the work was
 * cut short by it; of several such the first counts. An empty list is 0.
 */
export function worstExitCode(codes: readonly number[]): number {
  const held = HELD.find((name) => codes.includes(exitCode(name)));
  if (held !== undefined) return exitCode(held);
  const outside = codes.find((code) => code !== 0 && !SEVERITY.some((name) => exitCode(name) === code));
  if (outside !== undefined) return outside;
  const worst = SEVERITY.find((name) => codes.includes(exitCode(name)));
  return worst === undefined ? 0 : exitCode(worst);
}
