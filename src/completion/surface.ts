/** What is offered for a word: these, names of files or directories, or nothing, since only a person knows it. */
export type Offered = readonly string[] | 'file' | 'directory' | 'nothing';

/** A flag; `value` is absent where it takes none. */
export interface CompletedFlag {
  name: string;
  summary: string;
  value?: { name: string; offered: Offered };
  isMultiple: boolean;
}

/** A command, and what can follow it. */
export interface CompletedCommand {
  /** As a person types it: `backups`, `verify`. */
  words: readonly string[];
  flags: readonly CompletedFlag[];
  argument: { name: string; offered: Offered };
}

/** A place in which a command or a topic is chosen: none, or the words of a topic. */
export interface CompletedTopic {
  words: readonly string[];
  choices: readonly { name: string; summary: string }[];
}

/** All that a shell is to know of the program. */
export interface Surface {
  program: string;
  topics: readonly CompletedTopic[];
  commands: readonly CompletedCommand[];
}

/** What of a command the manifest of oclif tells. */
export interface ManifestCommand {
  /** `backups:verify`. */
  id: string;
  summary?: string | undefined;
  hidden?: boolean | undefined;
  flags: Readonly<
    Record<
      string,
      {
        type: 'boolean' | 'option';
        summary?: string | undefined;
        helpValue?: string | string[] | undefined;
        options?: readonly string[] | undefined;
        multiple?: boolean | undefined;
        allowNo?: boolean | undefined;
        hidden?: boolean | undefined;
      }
    >
  >;
  args: Readonly<Record<string, { options?: readonly string[] | undefined }>>;
}

/** Of values and arguments, by what they are called in a help text. */
const PLACES: Readonly<Record<string, Offered>> = {
  FILE: 'file',
  PATH: 'file',
  DIR: 'directory',
  DIRECTORY: 'directory',
  MOUNTPOINT: 'directory',
  TARGET: 'directory',
};

const HELP: CompletedFlag = { name: 'help', summary: 'Show help.', isMultiple: false };

function flagsOf(
  { flags }: ManifestCommand,
  known: Readonly<Record<string, readonly string[]>>,
): CompletedFlag[] {
  const shown = Object.entries(flags).filter(([, { hidden }]) => hidden !== true);
  const all = shown.flatMap(([name, flag]): CompletedFlag[] => {
    const { summary = '', multiple: isMultiple = false } = flag;
    if (flag.type === 'boolean') {
      const plain = { name, summary, isMultiple };
      return flag.allowNo === true ? [plain, { ...plain, name: `no-${name}` }] : [plain];
    }
    const called = [flag.helpValue ?? name.toUpperCase()].flat()[0] ?? '';
    const offered = flag.options ?? known[name] ?? PLACES[called] ?? 'nothing';
    return [{ name, summary, isMultiple, value: { name: called, offered } }];
  });
  return [...all, HELP];
}

/** Of several arguments the one of which something can be offered. */
function argumentOf({ args }: ManifestCommand): CompletedCommand['argument'] {
  const all = Object.entries(args).map(([name, { options }]) => {
    const called = name.toUpperCase();
    return { name: called, offered: options ?? PLACES[called] ?? ('nothing' as const) };
  });
  return all.find(({ offered }) => offered !== 'nothing') ?? all[0] ?? { name: '', offered: 'nothing' };
}

/**
 * What a shell can complete, by the manifest of oclif. Pure.
 *
 * @param topics the summaries of topics, by their names
 * @param known what can follow flags of these names
 */
export function surfaceOf(
  program: string,
  commands: readonly ManifestCommand[],
  {
    topics,
    known,
  }: { topics: ReadonlyMap<string, string>; known: Readonly<Record<string, readonly string[]>> },
): Surface {
  const shown = commands.filter(({ hidden }) => hidden !== true).toSorted((a, b) => a.id.localeCompare(b.id));
  const choices = new Map<string, Map<string, string>>();
  for (const { id, summary = '' } of shown) {
    const words = id.split(':');
    for (const [index, name] of words.entries()) {
      const above = words.slice(0, index).join(':');
      const isLast = index === words.length - 1;
      const text = isLast ? summary : (topics.get(words.slice(0, index + 1).join(':')) ?? '');
      choices.set(above, (choices.get(above) ?? new Map<string, string>()).set(name, text));
    }
  }
  return {
    program,
    topics: [...choices].map(([above, names]) => ({
      words: above === '' ? [] : above.split(':'),
      choices: [...names].map(([name, summary]) => ({ name, summary })),
    })),
    commands: shown.map((command) => ({
      words: command.id.split(':'),
      flags: flagsOf(command, known),
      argument: argumentOf(command),
    })),
  };
}

/** What comes before the word that is completed, as the scripts have it: each word of it after a space. */
export function lineOf(words: readonly string[]): string {
  return words.map((word) => ` ${word}`).join('');
}

/** All that can be such a line, but for the empty one: commands, and topics on the way to them. */
export function linesOf({ topics, commands }: Surface): string[] {
  const all = [...topics, ...commands].map(({ words }) => lineOf(words));
  return [...new Set(all)].filter((line) => line !== '').toSorted();
}

/** In single quotes, as bash and zsh read it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
