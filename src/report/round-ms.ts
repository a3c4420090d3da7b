/** Milliseconds as JSON has them, everywhere: to the microsecond, which is as exact as the clocks are. */
export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
