import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RecoverReport } from '../../src/journal/recover-report.js';
import type { Plan } from '../../src/plan/plan.js';
import type { RunReport } from '../../src/report/run-report.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { IS_IN_GUEST } from './in-guest.js';

const RUN_JS = path.resolve(import.meta.dirname, '../../bin/run.js');
/** A bound against hanging for ever, never a measurement: shortly before that of a test, here and in an emulated guest. */
const LIMIT_MS = IS_IN_GUEST ? 1_000_000 : 110_000;
/** Where a guest has one processor, each look takes from the run that is looked at. */
const LOOK_MS = IS_IN_GUEST ? 50 : 5;

/** An argument of the tar that packs the sources; another one copies the directories above them. */
const PACKS_SOURCES = '--ignore-failed-read';

/** How a command with `--json` ended, and what it said. */
export interface Answer<T> {
  exitCode: number | undefined;
  value: T;
  stderr: string;
}

type JournalledKind = 'snapshot' | 'exposure' | 'backup' | 'removal' | 'drill' | 'staging';

/** The built command line with these arguments, run by a program where there is one. */
function commandUnder(wrapper: readonly string[], args: readonly string[]): [string, ...string[]] {
  const [file = process.execPath, ...rest] = [...wrapper, process.execPath, RUN_JS, ...args];
  return [file, ...rest];
}

/** The built command line, its state in a directory of the test's own. */
export class FsbackupCli {
  readonly #directory: string;

  /** `directory`: where run and state directories are made. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get environment(): { FSBACKUP_RUN_DIR: string; FSBACKUP_STATE_DIR: string; NO_COLOR: string } {
    return {
      FSBACKUP_RUN_DIR: path.join(this.#directory, 'run'),
      FSBACKUP_STATE_DIR: path.join(this.#directory, 'state'),
      NO_COLOR: '1',
    };
  }

  /** Runs a command to its end, whatever that is. */
  async run(...args: string[]): Promise<CommandResult> {
    return await this.runUnder([], ...args);
  }

  /** As `run`, by a program that runs it: `setpriv`, `unshare`. */
  async runUnder(wrapper: readonly string[], ...args: string[]): Promise<CommandResult> {
    return await runCommand(commandUnder(wrapper, args), { env: this.environment, timeoutMs: LIMIT_MS });
  }

  /** Runs a command on a terminal of its own, and types. All output is in `stdout`. */
  async onTerminal(input: string, ...args: string[]): Promise<CommandResult> {
    return await this.onTerminalUnder([], input, ...args);
  }

  /** As `onTerminal`, by a program that runs it: `timeout`. */
  async onTerminalUnder(
    wrapper: readonly string[],
    input: string,
    ...args: string[]
  ): Promise<CommandResult> {
    const command = [...wrapper, process.execPath, RUN_JS, ...args]
      .map((arg) => `'${arg.replaceAll("'", String.raw`'\''`)}'`)
      .join(' ');
    return await runCommand(['script', '--quiet', '--return', '--command', command, '/dev/null'], {
      env: { ...this.environment, TERM: 'dumb' },
      input,
      timeoutMs: LIMIT_MS,
    });
  }

  async #json(...args: string[]): Promise<Answer<unknown>> {
    const { exitCode, stdout, stderr } = await this.run(...args, '--json');
    try {
      return { exitCode, value: JSON.parse(stdout), stderr };
    } catch {
      throw new Error(`fsbackup ${args.join(' ')} ended with ${exitCode ?? 'a signal'}: ${stdout}${stderr}`);
    }
  }

  /** `run --json` of one job. Throws when it says something else than JSON. */
  async runJob(...args: string[]): Promise<Answer<RunReport>> {
    const answer = await this.#json('run', ...args);
    return { ...answer, value: answer.value as RunReport };
  }

  /** `plan --json` of one job. */
  async plan(...args: string[]): Promise<Answer<Plan>> {
    const answer = await this.#json('plan', ...args);
    return { ...answer, value: answer.value as Plan };
  }

  /** `recover --json`. */
  async recover(): Promise<Answer<RecoverReport>> {
    const answer = await this.#json('recover');
    return { ...answer, value: answer.value as RecoverReport };
  }

  /** Starts a command beside the test. The caller waits for its end. */
  start(...args: string[]): StartedCli {
    return this.startUnder([], ...args);
  }

  /** As `start`, by a program that runs it. */
  startUnder(wrapper: readonly string[], ...args: string[]): StartedCli {
    const [file, ...rest] = commandUnder(wrapper, args);
    const child = spawn(file, rest, {
      env: { PATH: process.env['PATH'], ...this.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    return new StartedCli(child);
  }

  /** Waits until the journal holds an entry of this kind: the run has come so far. */
  async journalled(kind: JournalledKind, started: StartedCli): Promise<void> {
    await this.#waitForJournal(kind, started, true);
  }

  /** Waits until the journal holds none of this kind any more. */
  async noLongerJournalled(kind: JournalledKind, started: StartedCli): Promise<void> {
    await this.#waitForJournal(kind, started, false);
  }

  async #waitForJournal(kind: JournalledKind, started: StartedCli, isThere: boolean): Promise<void> {
    const deadline = Date.now() + LIMIT_MS;
    while ((await this.journalEntries()).some((name) => name.endsWith(`-${kind}.json`)) !== isThere) {
      if (started.hasEnded) throw new Error(`fsbackup ended before: ${started.output}`);
      if (Date.now() > deadline) throw new Error(`fsbackup has not come to its ${kind}, or not past it`);
      await sleep(LOOK_MS);
    }
  }

  /** Both halves of the journal; without writes that were cut short, on whose account nothing was done. */
  async journalEntries(): Promise<string[]> {
    const { FSBACKUP_RUN_DIR, FSBACKUP_STATE_DIR } = this.environment;
    const listed = await Promise.all(
      [FSBACKUP_RUN_DIR, FSBACKUP_STATE_DIR].map((directory) =>
        readdir(path.join(directory, 'journal')).catch(() => []),
      ),
    );
    return listed.flat().filter((name) => name.endsWith('.json'));
  }
}

/** A command that runs beside the test. */
export class StartedCli {
  output = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'close');
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.output += chunk;
      });
    }
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** To the process itself, as `kill PID` does. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for a child that runs this program and copies, and stops it: what it does then lasts until it is killed. */
  async stopChild(program: string, signal: NodeJS.Signals = 'SIGSTOP'): Promise<void> {
    const { pid = 0 } = this.#child;
    const deadline = Date.now() + LIMIT_MS;
    while (!this.hasEnded && Date.now() < deadline) {
      // Node starts all of them from its main thread. To look through all of /proc takes longer than some of them last.
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
      for (const child of children.split(' ').filter((text) => text !== '')) {
        const name = await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '');
        if (name.trim() !== program) continue;
        const words = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
        if (program === 'tar' && !words.includes(PACKS_SOURCES)) continue;
        process.kill(Number(child), signal);
        return;
      }
      await sleep(1);
    }
    throw new Error(`fsbackup runs no ${program}: ${this.output}`);
  }

  /** Waits for its end: the exit code, or the signal that ended it. */
  async ended(): Promise<number | NodeJS.Signals> {
    const limit = sleep(LIMIT_MS, 'late', { ref: false });
    if ((await Promise.race([this.#ended, limit])) === 'late') {
      this.#child.kill('SIGKILL');
      throw new Error(`fsbackup did not end: ${this.output}`);
    }
    return this.#child.exitCode ?? this.#child.signalCode ?? 'SIGKILL';
  }
}
