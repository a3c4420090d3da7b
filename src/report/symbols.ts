/** The signs before lines. */
export interface Symbols {
  done: string;
  failed: string;
  warning: string;
  /** Beside every step of the timeline during which something was frozen. */
  frozen: string;
  to: string;
}

const UNICODE: Symbols = { done: '✔', failed: '✖', warning: '⚠', frozen: '┃', to: '→' };
const ASCII: Symbols = { done: 'ok', failed: 'x', warning: '!', frozen: '|', to: '->' };

/** Signs that the locale can show; the kernel's console has no glyphs for the others. */
export function chooseSymbols(env: NodeJS.ProcessEnv): Symbols {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find(
    (value) => value !== undefined && value !== '',
  );
  return /utf-?8/i.test(locale ?? '') && env['TERM'] !== 'linux' ? UNICODE : ASCII;
}
