import { performance } from 'node:perf_hooks';
import { loadChalk } from './colours.js';
import { PlainReporter } from './plain-reporter.js';
import { quietReporter } from './quiet-reporter.js';
import type { Reporter } from './reporter.js';
import { silentReporter } from './silent-reporter.js';
import { renderReport } from './render-report.js';
import { chooseSymbols } from './symbols.js';

/** What decides which face a run shows. */
export interface ReporterChoice {
  json: boolean;
  quiet: boolean;
  /** `--log-json`. */
  logJson?: boolean;
  /** Of stderr, where what goes on is written. */
  isTTY: boolean;
  env: NodeJS.ProcessEnv;
  /** Default to the process's. */
  stdout?: NodeJS.WriteStream;
  stderr?: NodeJS.WriteStream;
}

/** A cursor that can be moved, and somebody who looks at it. */
function isAnimated({ isTTY, env }: ReporterChoice): boolean {
  return isTTY && env['TERM'] !== 'dumb' && (env['CI'] ?? '') === '';
}

async function jsonLogReporter(
  { json, quiet, env }: ReporterChoice,
  stdout: NodeJS.WriteStream,
  stderr: NodeJS.WriteStream,
): Promise<Reporter> {
  const { JsonLogReporter } = await import('./json-log-reporter.js');
  const style = { chalk: await loadChalk(stdout, env), symbols: chooseSymbols(env) };
  return new JsonLogReporter({
    log: (text) => void stderr.write(text),
    now: () => performance.now(),
    date: () => new Date(),
    ...(json || quiet ? {} : { result: (report) => void stdout.write(renderReport(report, style)) }),
  });
}

/**
 * The face for a run: events with `--log-json`, silent with `--json`, quiet with `--quiet`, spinners on a terminal, else lines. What goes on is
 * written to stderr, the summary to stdout; quiet writes to stderr alone.
 */
export async function chooseReporter(choice: ReporterChoice): Promise<Reporter> {
  const { json, quiet, logJson, env, stdout = process.stdout, stderr = process.stderr } = choice;
  if (logJson === true) return await jsonLogReporter(choice, stdout, stderr);
  if (json) return silentReporter;
  const symbols = chooseSymbols(env);
  const style = { chalk: await loadChalk(stderr, env), symbols };
  const log = (text: string): void => void stderr.write(text);
  if (quiet) return quietReporter(log, style);
  const resultStyle = { chalk: await loadChalk(stdout, env), symbols };
  const output = {
    log,
    result: (text: string): void => void stdout.write(text),
    now: () => performance.now(),
  };
  if (!isAnimated(choice)) return new PlainReporter(output, resultStyle);
  // ora and its spinners take a while to load, and cron never sees them.
  const { TerminalReporter } = await import('./terminal-reporter.js');
  return new TerminalReporter(output, {
    stream: stderr,
    style,
    resultStyle,
    isResultElsewhere: !stdout.isTTY,
  });
}
