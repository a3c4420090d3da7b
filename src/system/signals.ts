import { FsbackupError } from '../errors.js';
import type { ExitName } from '../exit-codes.js';

type Interruption = Extract<ExitName, 'hangup' | 'interrupted' | 'terminated'>;

/** The signals that end a run early, and what it then exits with. QUIT comes from a keyboard as INT does. */
const INTERRUPTIONS = {
  SIGHUP: 'hangup',
  SIGINT: 'interrupted',
  SIGTERM: 'terminated',
  SIGQUIT: 'interrupted',
} as const satisfies Partial<Record<NodeJS.Signals, Interruption>>;

/** The part of `process` that is used. */
export interface SignalSource {
  on(event: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(event: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

function interruption(signal: keyof typeof INTERRUPTIONS): FsbackupError {
  return new FsbackupError(INTERRUPTIONS[signal], `interrupted by ${signal.slice('SIG'.length)}`, {
    hint: 'Run it again when you are ready.',
  });
}

/** True for the error that an aborted run ends with. */
export function isInterruption(error: unknown): boolean {
  return error instanceof FsbackupError && Object.values<ExitName>(INTERRUPTIONS).includes(error.code);
}

const ignoring = new WeakSet<SignalSource>();

/** Node ignores PIPE from its start, but once its last listener is gone a write that nobody reads ends the process. */
function keepIgnoringPipe(source: SignalSource): void {
  if (ignoring.has(source)) return;
  ignoring.add(source);
  source.on('SIGPIPE', () => undefined);
}

/**
 * Runs `work` with a signal that HUP, INT, TERM and QUIT abort; its reason is the FsbackupError to end with. The process lives on
 * until `work` has thawed and cleaned up: a second Ctrl-C changes nothing. PIPE is nobody's wish: that a child ended while we wrote
 * to it what was asked of it tells, and that the reader of a log left (a logger that is restarted) is an error of that stream,
 * which the output guard passes over. The backup goes on.
 */
export async function withSignals<T>(
  source: SignalSource,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signal in INTERRUPTIONS) controller.abort(interruption(signal as keyof typeof INTERRUPTIONS));
  };
  const signals = Object.keys(INTERRUPTIONS) as NodeJS.Signals[];
  keepIgnoringPipe(source);
  for (const signal of signals) source.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of signals) source.off(signal, onSignal);
  }
}

/** From here on none of them ends the process early: it has told that all is well, and is about to end by itself. */
export function ignoreSignals(source: SignalSource): void {
  for (const signal of Object.keys(INTERRUPTIONS) as NodeJS.Signals[]) source.on(signal, () => undefined);
}
