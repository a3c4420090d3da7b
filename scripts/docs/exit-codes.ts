import { EXIT_CODES, worstExitCode, type ExitName } from '../../src/exit-codes.js';
import { table } from './table.js';

const ENTRIES = (Object.keys(EXIT_CODES) as ExitName[]).map((name) => ({ name, ...EXIT_CODES[name] }));

/** Number and meaning of every exit code. */
export function exitCodeTable(): string {
  return table(
    ['exit', 'meaning'],
    ENTRIES.map(({ code, meaning }) => [String(code), meaning]),
  );
}

/** As `exitCodeTable`, with the stable name that `--json` uses. */
export function namedExitCodeTable(): string {
  return table(
    ['exit', '`code` in JSON', 'meaning'],
    ENTRIES.map(({ code, name, meaning }) => [String(code), `\`${name}\``, meaning]),
  );
}

/** Equal in rank: whichever comes first counts. */
function sameRank(a: number, b: number): boolean {
  return worstExitCode([a, b]) === a && worstExitCode([b, a]) === b;
}

/** The codes that can stand for several jobs, worst first; those of equal rank in brackets. */
export function severityOrder(): string {
  const ranks: number[][] = [];
  for (const { code } of ENTRIES.filter((entry) => entry.code !== 0)) {
    const rank = ranks.find(([other]) => other !== undefined && sameRank(other, code));
    if (rank === undefined) ranks.push([code]);
    else rank.push(code);
  }
  return ranks
    .toSorted(([a = 0], [b = 0]) => (worstExitCode([a, b]) === a ? -1 : 1))
    .map((rank) => (rank.length === 1 ? rank.join('') : `(${rank.join(', ')})`))
    .join(' > ');
}
