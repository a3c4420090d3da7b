/**
 * How long each fuzz target runs, and from which seed: `FSBACKUP_FUZZ_SECONDS` (12: some minute for
 * all of them) and `FSBACKUP_FUZZ_SEED` (the time, so that every run looks elsewhere; a failure names it).
 */
export function fuzzBudget(env: NodeJS.ProcessEnv = process.env): { seconds: number; seed: number } {
  const seconds = Number(env['FSBACKUP_FUZZ_SECONDS'] ?? 12);
  const seed = Number(env['FSBACKUP_FUZZ_SEED'] ?? Date.now() % 1_000_000);
  if (!(seconds >= 0) || !Number.isInteger(seed))
    throw new Error('FSBACKUP_FUZZ_SECONDS and _SEED are numbers');
  return { seconds, seed };
}
