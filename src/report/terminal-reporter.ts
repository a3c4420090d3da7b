import ora, { type Ora } from 'ora';
import type { CopyProgress } from '../copy/engine.js';
import { withoutControls } from './controls.js';
import { formatMs } from './format.js';
import { HeldOutput } from './held-output.js';
import type { ReporterOutput } from './plain-reporter.js';
import { ProgressMeter } from './progress-meter.js';
import { renderReport, type Style } from './render-report.js';
import type { Reporter } from './reporter.js';
import type { RunReport } from './run-report.js';

/** A terminal, and the styles of what is written to it and of the summary, which may go elsewhere. */
export interface TerminalOptions {
  stream: NodeJS.WriteStream;
  style: Style;
  resultStyle: Style;
  /** The summary goes elsewhere, where nobody has seen the steps. */
  isResultElsewhere?: boolean;
}

/** An engine may tell of thousands of files a second; nobody sees more than this. */
const PROGRESS_EVERY_MS = 50;

const USUAL_COLUMNS = 80;

/**
 * A terminal that does not know its size (a serial console, `script`, a container's) says 0 columns, by which ora
 * divides: it would then clear lines for ever.
 */
function assumeColumns(stream: NodeJS.WriteStream): void {
  const assume = (): void => {
    if (!(stream.columns > 0)) stream.columns = USUAL_COLUMNS;
  };
  assume();
  stream.on('resize', assume);
}

/** Spinners and a progress line. The spinner stands still, and nothing is written, in the window. */
export class TerminalReporter implements Reporter {
  readonly #output: ReporterOutput;
  readonly #style: Style;
  readonly #resultStyle: Style;
  readonly #hasTimeline: boolean;
  readonly #held = new HeldOutput();
  readonly #meter: ProgressMeter;
  readonly #spinner: Ora;
  readonly #frozenSteps = new Set<string>();
  #progressAt = Number.NEGATIVE_INFINITY;
  /** Steps that go on, outermost first. */
  #open: string[] = [];

  constructor(
    output: ReporterOutput,
    { stream, style, resultStyle, isResultElsewhere = false }: TerminalOptions,
  ) {
    this.#output = output;
    this.#style = style;
    this.#resultStyle = resultStyle;
    this.#hasTimeline = isResultElsewhere;
    this.#meter = new ProgressMeter(output.now);
    assumeColumns(stream);
    this.#spinner = ora({
      stream,
      isEnabled: true,
      color: style.chalk.level > 0 ? 'cyan' : false,
      // Ctrl-C must stay a signal, and a killed run must not leave a terminal without cursor.
      discardStdin: false,
      hideCursor: false,
    });
  }

  #line(text: string): void {
    this.#held.say(() => {
      this.#spinner.stop();
      this.#output.log(`${text}\n`);
      this.#spin();
    });
  }

  #spin(): void {
    const step = this.#open.at(-1);
    if (step !== undefined && !this.#held.isFrozen) this.#spinner.start(withoutControls(step));
  }

  #close(step: string, text: string): void {
    this.#open = this.#open.filter((open) => open !== step);
    this.#line(text);
  }

  jobStarted(job: string): void {
    this.#line(this.#style.chalk.bold(job));
  }

  stepStarted(step: string, { frozen }: { frozen: boolean }): void {
    if (frozen) {
      // Before FIFREEZE still: the interval that draws would otherwise write into the window.
      if (this.#spinner.isSpinning) this.#spinner.stop();
      this.#held.hold();
      this.#frozenSteps.add(step);
      return;
    }
    this.#held.release();
    this.#frozenSteps.delete(step);
    this.#meter.reset();
    this.#progressAt = Number.NEGATIVE_INFINITY;
    this.#open.push(step);
    this.#spin();
  }

  stepFinished(step: string, durationMs: number): void {
    const { chalk, symbols } = this.#style;
    const frozen = this.#frozenSteps.has(step) ? chalk.cyan(' frozen') : '';
    this.#close(
      step,
      `${chalk.green(symbols.done)} ${withoutControls(step)} ${chalk.dim(formatMs(durationMs))}${frozen}`,
    );
  }

  stepFailed(step: string, message: string): void {
    const { chalk, symbols } = this.#style;
    this.#close(step, `${chalk.red(symbols.failed)} ${withoutControls(`${step}: ${message}`)}`);
  }

  progress(progress: CopyProgress): void {
    this.#meter.take(progress);
    const now = this.#output.now();
    if (this.#held.isFrozen || now - this.#progressAt < PROGRESS_EVERY_MS) return;
    this.#progressAt = now;
    const line = this.#meter.line(progress);
    this.#spinner.text = `${withoutControls(this.#open.at(-1) ?? 'copy')}  ${line}`;
  }

  warn(message: string): void {
    const { chalk, symbols } = this.#style;
    this.#line(chalk.yellow(`${symbols.warning} ${withoutControls(message)}`));
  }

  waiting(message: string): void {
    this.#line(withoutControls(message));
  }

  workFinished(): void {
    this.#open = [];
    this.#spinner.stop();
  }

  jobFinished(report: RunReport): void {
    this.#open = [];
    this.#held.release();
    this.#spinner.stop();
    this.#output.result(renderReport(report, this.#resultStyle, { timeline: this.#hasTimeline }));
  }
}
