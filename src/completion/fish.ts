import { lineOf, linesOf, type CompletedCommand, type Offered, type Surface } from './surface.js';

/** In single quotes, as fish reads it. */
function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}

/** The options of complete(1) for what is offered; `after` a flag, or for an argument. */
function offering(offered: Offered, after: 'flag' | 'argument'): string {
  const alone = after === 'flag' ? ' --exclusive' : '';
  switch (offered) {
    case 'file':
      return `${after === 'flag' ? ' --require-parameter' : ''} --force-files`;
    case 'directory':
      return `${alone} --arguments '(__fish_complete_directories)'`;
    case 'nothing':
      return alone;
    default:
      return `${alone} --arguments ${quoted(offered.join(' '))}`;
  }
}

/** A script for fish, in a directory of `fish_complete_path` or sourced. */
export function fishCompletion(surface: Surface): string {
  const { program, topics, commands } = surface;
  const at = (words: readonly string[]): string =>
    `complete --command ${program} --condition ${quoted(`__${program}_at ${quoted(lineOf(words))}`)}`;
  const commandLines = ({ words, flags, argument }: CompletedCommand): string[] => [
    ...flags.map(({ name, summary, value }) => {
      const takes = value === undefined ? '' : offering(value.offered, 'flag');
      return `${at(words)} --long-option ${name} --description ${quoted(summary)}${takes}`;
    }),
    ...(argument.offered === 'nothing' ? [] : [`${at(words)}${offering(argument.offered, 'argument')}`]),
  ];
  return [
    `# Completion of ${program} for fish, by: ${program} completion fish`,
    `function __${program}_at`,
    "    set -l line ''",
    '    set -l words (commandline --tokenize --current-process --cut-at-cursor)',
    '    set --erase words[1]',
    '    for word in $words',
    '        switch "$line $word"',
    `            case ${linesOf(surface).map(quoted).join(' ')}`,
    '                set line "$line $word"',
    "            case '*'",
    '                break',
    '        end',
    '    end',
    '    test "$line" = "$argv[1]"',
    'end',
    `complete --command ${program} --no-files`,
    ...topics.flatMap(({ words, choices }) =>
      choices.map(({ name, summary }) => `${at(words)} --arguments ${name} --description ${quoted(summary)}`),
    ),
    ...commands.flatMap(commandLines),
    '',
  ].join('\n');
}
