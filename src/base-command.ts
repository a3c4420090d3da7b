import { inspect } from 'node:util';
import { Command, Errors, type Interfaces } from '@oclif/core';
import { FsbackupError } from './errors.js';
import { exitCode } from './exit-codes.js';
import { describeParseError, unwrapFlagMessage } from './parse-errors.js';
import { guardOutputs } from './process-guard.js';
import { asJson, asLines, withoutControls } from './report/controls.js';
import { loadChalk, wantsColour } from './report/colours.js';
import { toErrorJson, toErrorReport } from './report/error-report.js';
import { requireTrustedDirectories } from './system/directories.js';
import type { LogEvent } from './report/log-event.js';
import type { ErrorReport } from './report/run-report.js';
import { spareMemory } from './system/spare-memory.js';

/** What a command may tell by itself with `--log-json`. */
type OwnEvent =
  | Omit<Extract<LogEvent, { event: 'warning' }>, 'version' | 'time'>
  | Omit<Extract<LogEvent, { event: 'error' }>, 'version' | 'time'>;

/** Flags or arguments by their names. */
type Output = Record<string, unknown>;

/**
 * What all commands share: errors as a line of what and a line of what to do, exit codes from the one table, JSON.
 *
 * A command parses, calls a service, prints through `print` or `printJson`, and ends by returning (exit 0), by
 * throwing an FsbackupError, or by `this.exit(code)`. oclif then ends the process at once, so everything must be
 * released before `run` settles.
 */
export abstract class BaseCommand extends Command {
  /** Whether it believes what stands in the run and state directories: refused where others could have written it. */
  protected readonly believesState: boolean = true;

  /** True when `--json` was given and the command knows it; needs no successful parse. */
  protected wantsJson(): boolean {
    return this.isGiven('json');
  }

  /** Writes a text for people to stdout, a newline added where it ends in none. */
  protected print(text: string): void {
    process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Writes lines for people to stdout, control characters written out. */
  protected printLines(...lines: string[]): void {
    this.print(asLines(lines));
  }

  /** Writes a warning to stderr: for people, or with `--log-json` as an event. */
  protected printWarning(message: string): void {
    if (this.isGiven('log-json')) this.writeEvent({ job: '', backupId: null, event: 'warning', message });
    else process.stderr.write(`Warning: ${withoutControls(message)}\n`);
  }

  /** Writes what goes on to stderr, for people. */
  protected printNote(message: string): void {
    process.stderr.write(`${withoutControls(message)}\n`);
  }

  /** Writes an error for people to stderr, line by line: what, and what to do. */
  protected printError(lines: readonly string[], heading = 'Error:'): void {
    process.stderr.write(`${heading} ${asLines(lines)}\n`);
  }

  /** The same to stderr: what `--quiet` has left of it. */
  protected printAside(text: string): void {
    process.stderr.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Writes one JSON document to stdout. */
  protected printJson(value: unknown): void {
    process.stdout.write(`${asJson(value, 2)}\n`);
  }

  /**
   * As oclif's, but no argument is read from standard input: that is the list of a shell's loop, or the rest of a script,
   * which would name a job and be gone. An empty argument, which an unset shell variable makes, is no path to be taken for the
   * working directory.
   */
  protected override async parse<F extends Output, B extends Output, A extends Output>(
    options?: Interfaces.Input<F, B, A>,
    argv?: string[],
  ): Promise<Interfaces.ParserOutput<F, B, A>> {
    this.refuseValues(argv ?? this.argv);
    const { args = {}, ...rest } = options ?? this.ctor;
    const ownArgs = Object.entries(args).map(([name, arg]) => [name, { ...arg, ignoreStdin: true }]);
    const parsed = await super.parse(
      { ...rest, args: Object.fromEntries(ownArgs) } as Interfaces.Input<F, B, A>,
      argv,
    );
    if (!parsed.argv.includes('')) return parsed;
    throw new FsbackupError('usage', 'an argument is empty', {
      hint: 'Name what is meant, or leave it out; an unset shell variable may be why it is empty.',
    });
  }

  protected override async init(): Promise<void> {
    await super.init();
    spareMemory();
    guardOutputs(process, (message) => {
      const hint = 'See what is wrong with what stdout leads to.';
      if (this.isGiven('log-json'))
        this.writeEvent({ event: 'error', code: 'failed', exitCode: exitCode('failed'), message, hint });
      else this.printError([message]);
    });
    process.on('uncaughtException', this.crash);
    if (this.believesState) await requireTrustedDirectories();
  }

  protected override async finally(thrown: Error | undefined): Promise<void> {
    process.off('uncaughtException', this.crash);
    await super.finally(thrown);
  }

  /** Renders what `run` (or parsing) threw and ends with its exit code. */
  protected override async catch(error: Error): Promise<never> {
    if (error instanceof Errors.ExitError) throw error;
    const report = this.describe(error);
    await this.render(report, error);
    return this.exit(report.exitCode);
  }

  /**
   * Ends the process for what no promise carried to `catch`: Node would exit 1. Nothing is released here, since
   * nobody knows what still works: the watchdog thaws when this process ends, `recover` does the rest.
   */
  private readonly crash = (error: unknown): void => {
    const report = toErrorReport(error);
    this.write(report, error, 'Error:');
    process.exit(report.exitCode);
  };

  private isGiven(flag: string): boolean {
    if (!(flag in this.knownFlags())) return false;
    const end = this.argv.indexOf('--');
    return (end === -1 ? this.argv : this.argv.slice(0, end)).includes(`--${flag}`);
  }

  /** An event of the command itself, outside of what a reporter tells of. */
  private writeEvent(event: OwnEvent): void {
    const line = { version: 1, time: new Date().toISOString(), ...event } satisfies LogEvent;
    process.stderr.write(`${asJson(line)}\n`);
  }

  /** `--force=false`: oclif would take the value for the first argument, the name of a job perhaps. */
  private refuseValues(argv: readonly string[]): void {
    const end = argv.indexOf('--');
    for (const word of end === -1 ? argv : argv.slice(0, end)) {
      const name = /^--([a-z][a-z-]*)=/.exec(word)?.[1] ?? '';
      const flags: Record<string, { type?: string; allowNo?: boolean } | undefined> = {
        ...this.knownFlags(),
      };
      if (flags[name]?.type !== 'boolean') continue;
      throw new FsbackupError('usage', `--${name} takes no value, and was given one: ${word}`, {
        hint:
          flags[name].allowNo === true ? `Say --${name} or --no-${name}.` : `Say --${name}, or leave it out.`,
      });
    }
  }

  private knownFlags(): object {
    return { ...this.ctor.baseFlags, ...this.ctor.flags };
  }

  private describe(error: Error): ErrorReport {
    if (error instanceof FsbackupError) {
      return { ...toErrorReport(error), message: unwrapFlagMessage(error.message) };
    }
    // Only the parser throws these; its own exit code is not read, since settings could change it.
    if (error instanceof Errors.CLIError) {
      const id = (this.id ?? '').replaceAll(':', ' ');
      return describeParseError(error, { id, flags: Object.keys(this.knownFlags()) });
    }
    return toErrorReport(error);
  }

  private async render(report: ErrorReport, error: Error): Promise<void> {
    const isColoured = wantsColour(process.stderr, process.env);
    const chalk = isColoured ? await loadChalk(process.stderr, process.env) : undefined;
    this.write(report, error, chalk?.red.bold('Error:') ?? 'Error:');
  }

  private write(report: ErrorReport, error: unknown, heading: string): void {
    const stack = (process.env['DEBUG'] ?? '') === '' ? undefined : inspect(error);
    if (this.isGiven('log-json')) {
      this.writeEvent({ event: 'error', ...report, ...(stack === undefined ? {} : { stack }) });
    } else {
      // Not where the parser had wrapped its message.
      const isAsThrown = error instanceof FsbackupError && error.message === report.message;
      this.printError(isAsThrown ? error.lines : [report.message, report.hint], heading);
      if (stack !== undefined) process.stderr.write(`${stack}\n`);
    }
    if (this.wantsJson()) this.printJson(toErrorJson(report));
  }
}
