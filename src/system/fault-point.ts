/**
 * Names a boundary at which a process may die, stop or fail. Does nothing: what is installed holds no code that could.
 * Tests build a bundle with `test/support/fault-build/fault-point.ts` in this module's place, which acts where
 * `FSBACKUP_FAULT` says so. The names are found in the sources, so each is a literal (docs/reliability.md).
 */
export function faultPoint(name: string): void {
  void name;
}

/** The environment of the watchdog: empty, but in a build for tests of faults. */
export function watchdogEnvironment(): Record<string, string> {
  return {};
}
