import process from 'node:process';

/** A password in a URL, `scheme://user:password@host`, which nobody is to see. */
const URL_PASSWORD = /(:\/\/[^/@\s:]*):[^/@\s]*@/g;

/** A text that may quote a URL, without the passwords of URLs. */
export function withoutPasswords(text: string): string {
  return text.replaceAll(URL_PASSWORD, '$1:***@');
}

/** How this fsbackup was called, for people and for files that others read: without the passwords of URLs. */
export function ownCommandLine(): string {
  return withoutPasswords(process.argv.slice(2).join(' '));
}

/** A word for a shell: in quotes where it would be read as anything but itself. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./@:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A program and its arguments, as they can be copied into a shell. */
export function shellCommand(argv: readonly string[]): string {
  return argv.map(shellWord).join(' ');
}

/** Commands that take the flags which say where backups are, and those that take --config. */
const TAKES_FROM = /^(?:backups (?!umount|release)|restore)/;
const TAKES_CONFIG = /^(?:backups (?!umount|release)|restore|config|doctor|plan|run)/;

/** The flag and its value among the arguments, as one of both spellings gives them. */
function givenFlag(args: readonly string[], flag: string): string[] {
  const at = args.findLastIndex((arg) => arg === flag || arg.startsWith(`${flag}=`));
  const value = args[at] === flag ? args[at + 1] : args[at]?.slice(flag.length + 1);
  return value === undefined ? [] : [flag, withoutPasswords(value)];
}

/** A command of fsbackup that people are told to run: for a shell, and looking where this one was told to look. */
export function suggested(command: string, words: readonly string[] = []): string {
  const all = process.argv.slice(2);
  const end = all.indexOf('--');
  const args = end === -1 ? all : all.slice(0, end);
  const given = (...flags: string[]): string[] => flags.flatMap((flag) => givenFlag(args, flag));
  const places = [
    // Without --from, --engine is that of the job which flags describe.
    ...(TAKES_FROM.test(command) && given('--from').length > 0
      ? given('--from', '--engine', '--password-file')
      : []),
    ...(TAKES_CONFIG.test(command) ? given('--config') : []),
  ];
  return ['fsbackup', command, ...[...words, ...places].map(shellWord)].join(' ');
}
