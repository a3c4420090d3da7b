/**
 * Children that we write to, the watchdog among them. One that ends before it has read all (its disk is full, it was killed) makes our next write raise SIGPIPE
 * here, which is then no wish of anybody's that we end: what was asked of the child tells what happened.
 */
let children = 0;
let lastEndMs = Number.NEGATIVE_INFINITY;

/** A signal reaches JavaScript some turns of the event loop after what raised it. */
const LATE_MS = 1000;

/** Counts a child that is written to, until the returned function is called. */
export function beginFeeding(): () => void {
  children += 1;
  return () => {
    children -= 1;
    lastEndMs = performance.now();
  };
}

/** Whether a SIGPIPE that came just now may be of a child that we wrote to. */
export function mayBeOfFedChild(): boolean {
  return children > 0 || performance.now() - lastEndMs < LATE_MS;
}
