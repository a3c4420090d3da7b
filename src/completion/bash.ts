import { lineOf, linesOf, quoted, type CompletedCommand, type Offered, type Surface } from './surface.js';

/** Sets what the end of the script offers. */
function offering(offered: Offered): string {
  return typeof offered === 'string' ? `kind=${offered}` : `words=${quoted(offered.join(' '))}`;
}

function commandLines({ words, flags, argument }: CompletedCommand): string[] {
  const valued = flags.flatMap(({ name, value }) =>
    value === undefined ? [] : [`        --${name}) ${offering(value.offered)} ;;`],
  );
  const names = flags.map(({ name }) => `--${name}`).join(' ');
  return [
    `    ${quoted(lineOf(words))})`,
    '      case "$previous" in',
    ...valued,
    '        *)',
    `          if [[ $current == -* ]]; then words=${quoted(names)}`,
    `          else ${offering(argument.offered)}`,
    '          fi ;;',
    '      esac ;;',
  ];
}

/** A script that bash sources; 4.4 or later. Its arguments and its output are static: nothing of what is typed is run. */
export function bashCompletion(surface: Surface): string {
  const { program, topics, commands } = surface;
  const choices = topics.map(
    (topic) =>
      `    ${quoted(lineOf(topic.words))}) words=${quoted(topic.choices.map(({ name }) => name).join(' '))} ;;`,
  );
  return [
    `# Completion of ${program} for bash, by: ${program} completion bash`,
    `_${program}() {`,
    '  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} line="" words="" kind="" at',
    '  # --flag=value comes as three words.',
    '  if [[ $current == = ]]; then current=""',
    '  elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}',
    '  fi',
    '  for ((at = 1; at < COMP_CWORD; at++)); do',
    '    case "$line ${COMP_WORDS[at]}" in',
    `      ${linesOf(surface).map(quoted).join(' | ')}) line+=" \${COMP_WORDS[at]}" ;;`,
    '      *) break ;;',
    '    esac',
    '  done',
    '  case "$line" in',
    ...choices,
    ...commands.flatMap(commandLines),
    '  esac',
    '  COMPREPLY=()',
    '  case "$kind" in',
    '    nothing) ;;',
    '    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;',
    '    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;',
    '    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;',
    '  esac',
    '}',
    `complete -F _${program} ${program}`,
    '',
  ].join('\n');
}
