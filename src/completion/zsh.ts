import { lineOf, linesOf, quoted, type CompletedCommand, type Offered, type Surface } from './surface.js';

/** An action of zshcompsys(1), `_arguments`. */
function actionOf(offered: Offered): string {
  switch (offered) {
    case 'file':
      return '_files';
    case 'directory':
      return '_files -/';
    case 'nothing':
      return ' ';
    default:
      return `(${offered.join(' ')})`;
  }
}

/** In the brackets of an option's explanation, which end with one. */
function explained(summary: string): string {
  return `[${summary.replaceAll(/[[\]\\]/g, String.raw`\$&`)}]`;
}

function commandLines({ words, flags, argument }: CompletedCommand): string[] {
  const specs = flags.map(({ name, summary, value, isMultiple }) => {
    const before = isMultiple ? '*' : '';
    if (value === undefined) return `${before}--${name}${explained(summary)}`;
    return `${before}--${name}=${explained(summary)}:${value.name}:${actionOf(value.offered)}`;
  });
  return [
    `    (${quoted(lineOf(words))})`,
    // The program's name, and what comes after the command.
    '      words=("$words[1]" "${(@)words[at,-1]}"); (( CURRENT -= at - 2 ))',
    String.raw`      _arguments -S : \ `.trimEnd(),
    ...[...specs, `*:${argument.name}:${actionOf(argument.offered)}`].map(
      (spec, index, all) =>
        `        ${quoted(spec)}${index === all.length - 1 ? ' ;;' : String.raw` \ `.trimEnd()}`,
    ),
  ];
}

/** A script for zsh: as `_PROGRAM` in a directory of `fpath`, or sourced once `compinit` was run. */
export function zshCompletion(surface: Surface): string {
  const { program, topics, commands } = surface;
  const choices = topics.flatMap(({ words, choices: all }) => [
    `    (${quoted(lineOf(words))})`,
    `      offered=(${all.map(({ name, summary }) => quoted(`${name}:${summary.replaceAll(':', String.raw`\:`)}`)).join(' ')})`,
    '      _describe -t commands command offered ;;',
  ]);
  return [
    `#compdef ${program}`,
    `# Completion of ${program} for zsh, by: ${program} completion zsh`,
    `_${program}() {`,
    "  local line=''",
    '  local -a offered',
    '  integer at=2',
    '  while (( at < CURRENT )); do',
    '    case "$line $words[at]" in',
    `      (${linesOf(surface).map(quoted).join('|')}) line+=" $words[at]" ;;`,
    '      (*) break ;;',
    '    esac',
    '    (( at++ ))',
    '  done',
    '  case "$line" in',
    ...choices,
    ...commands.flatMap(commandLines),
    '  esac',
    '}',
    // As a file of fpath it is this function's own body, the first time that it is asked.
    `if [[ "$funcstack[1]" == _${program} ]]; then _${program} "$@"`,
    `else compdef _${program} ${program}`,
    'fi',
    '',
  ].join('\n');
}
