import { exitCode } from '../exit-codes.js';
import type { BlockedProcess } from '../system/blocked-programs.js';
import { findCommand, NOT_FOUND } from '../system/find-command.js';
import { withSignals, type SignalSource } from '../system/signals.js';
import { freezeWhile } from './freeze-by-hand.js';
import type { FreezeOptions, FreezeOutcome, FreezeTarget, LossReason } from './freezer.js';
import type { GuardedFreezer } from './guarded-freezer.js';
import { startHeldCommand, type HeldEnd } from './held-command.js';
import { watchBlocked, type BlockedWatch } from './watch-blocked.js';

function notRunnable(name: string, code: number): HeldResult {
  const why = code === NOT_FOUND ? 'was not found' : 'is not executable';
  const problem = {
    message: `${name} ${why}, so nothing was frozen`,
    hint: 'Check its name, or give its full path.',
  };
  return { exitCode: code, problem, outcomes: [] };
}

/** What keeps it from happening again. The timeout is reset while the command runs, so only the cap can pass. */
function whatHelps(lost: LossReason | undefined, blocked: readonly BlockedProcess[]): string {
  if (lost === 'max-hold' && blocked.length > 0) {
    const names = blocked.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ');
    return `${names} hung in the kernel until the thaw, as what writes to a frozen filesystem does: a longer --max-hold only makes that longer. Have it write elsewhere.`;
  }
  if (lost === 'max-hold') return 'a longer --max-hold may help.';
  if (lost === 'third-party') return 'find out first who thawed it: the command itself, or somebody else.';
  return 'find out first who stopped or ended fsbackup or its watchdogs.';
}

/** How `freeze … -- CMD` ended. */
export interface HeldResult {
  /** CMD's own, 128+n after a signal, 126/127 when it could not be run, 21 when the freeze was lost meanwhile. */
  exitCode: number;
  /** Why CMD's own code does not count, and what to do: two lines. */
  problem?: { message: string; hint: string };
  outcomes: readonly FreezeOutcome[];
}

/**
 * Holds the filesystems frozen while a command runs. A lost freeze does not end the command; a signal to us thaws
 * first and is then passed on. Rejects as `freezeWhile` does, and with the interruption after a signal, unless the freeze
 * had been lost before.
 */
export async function freezeAroundCommand(
  targets: readonly FreezeTarget[],
  options: FreezeOptions,
  argv: readonly [string, ...string[]],
  host: { signals: SignalSource; searchPath: string; warn: (message: string) => unknown },
): Promise<HeldResult> {
  const found = await findCommand(argv[0], host.searchPath, '');
  if (!('file' in found)) return notRunnable(argv[0], found.exitCode);
  return await withSignals(host.signals, async (interrupted) => {
    let watch: BlockedWatch | undefined;
    const hold = async (freezer: GuardedFreezer): Promise<HeldEnd> => {
      interrupted.throwIfAborted();
      const command = startHeldCommand(found.file, argv);
      const onInterrupt = (): void => {
        const pass = (): void => command.kill('SIGTERM');
        // Either way the command is told to end; what a failed thaw means is told below.
        freezer.thaw().then(pass, pass);
      };
      interrupted.addEventListener('abort', onInterrupt, { once: true });
      if (command.session !== undefined) watch = watchBlocked(command.session, options.maxHoldMs);
      return await command.ended;
    };
    const { result, outcomes, warnings } = await freezeWhile(targets, options, hold, interrupted);
    // Not before: while it is frozen, nothing is written.
    for (const warning of warnings) host.warn(warning);
    const blocked = (await watch?.stop()) ?? [];
    const lost = outcomes.find((outcome) => outcome.lost !== undefined);
    // Who told the command to end is to know, too, that what it made before is bad.
    if (lost === undefined) interrupted.throwIfAborted();
    if (result.notStarted !== undefined) {
      const problem = {
        message: `${argv[0]} could not be started (${result.notStarted}); what was frozen for it is thawed`,
        hint: 'See that the interpreter which its first line names is there, and can be executed.',
      };
      return { exitCode: result.exitCode, problem, outcomes };
    }
    if (lost === undefined) return { exitCode: result.exitCode, outcomes };
    return {
      exitCode: exitCode('freezeLost'),
      problem: {
        message: `the freeze of ${lost.target.mountpoint} was lost while the command ran (${lost.lost})`,
        hint: `Discard what the command made, and run it again; ${whatHelps(lost.lost, blocked)}`,
      },
      outcomes,
    };
  });
}
