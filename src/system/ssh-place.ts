import { FsbackupError } from '../errors.js';

/** A directory of another host, reached by ssh. */
export interface SshPlace {
  /** `user@host` or `host`, without the brackets of an IPv6 address. */
  login: string;
  port: number | undefined;
  /** Absolute, without a slash at its end. */
  directory: string;
}

const LOGIN = /^(?:[A-Za-z0-9_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\])$/;
const URL_FORM = /^ssh:\/\/(.+?)(?::(\d{1,5}))?(\/.*)$/;
const RSYNC_FORM = /^((?:[^@/:]+@)?(?:\[[^\]/]+\]|[^@/:]+)):(\/(?!\/).*)$/;

/** Parses `ssh://user@host:2222/srv/backups` and `user@host:/srv/backups`; undefined for anything else. Pure. */
export function parseSshPlace(text: string): SshPlace | undefined {
  const [, urlLogin, port, urlPath] = URL_FORM.exec(text) ?? [];
  const [, plainLogin, plainPath] = RSYNC_FORM.exec(text) ?? [];
  const login = urlLogin ?? plainLogin;
  const directory = (urlPath ?? plainPath)?.replaceAll(/\/+/g, '/').replace(/\/$/, '');
  if (login === undefined || directory === undefined || !LOGIN.test(login)) return undefined;
  if (directory === '' || /[\0\n\r]/.test(directory) || directory.split('/').includes('..')) return undefined;
  return {
    login: login.replaceAll(/[[\]]/g, ''),
    port: port === undefined ? undefined : Number(port),
    directory,
  };
}

/** As rsync is told of a directory of that host. */
export function rsyncName({ login }: Pick<SshPlace, 'login'>, directory: string): string {
  const [, user = '', host = ''] = /^(.*@)?(.*)$/.exec(login) ?? [];
  return `${user}${host.includes(':') ? `[${host}]` : host}:${directory}`;
}

/**
 * The words of a remote shell command as rsync reads them in RSYNC_RSH: split at blanks, quotes keep blanks together, a
 * doubled quote inside of quotes stands for itself. Throws `usage` for a quote that is never closed. Pure.
 */
export function splitShellCommand(text: string): string[] {
  const words: string[] = [];
  let [word, quote]: [string | undefined, string | undefined] = [undefined, undefined];
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (quote !== undefined && character === quote) {
      if (text[at + 1] === quote) {
        word = (word ?? '') + quote;
        at += 1;
      } else quote = undefined;
    } else if (quote === undefined && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (quote === undefined && character === ' ') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + character;
  }
  if (quote !== undefined) {
    throw new FsbackupError('usage', 'RSYNC_RSH has a quote that is never closed', {
      hint: 'Write it as rsync(1) says: a program and its arguments, with blanks between them.',
    });
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** Undoes `splitShellCommand`. Pure. */
export function joinShellCommand(words: readonly string[]): string {
  return words
    .map((word) => (/[ '"]/.test(word) || word === '' ? `"${word.replaceAll('"', '""')}"` : word))
    .join(' ');
}

/** For a shell: one word, whatever is in it. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * The argument arrays by which a host is reached. `shell` is the ssh client with its own options (RSYNC_RSH): an option
 * that it has wins over ours. Never asks for a password: nobody is there to answer.
 */
export class SshClient {
  /** The client and its options, without a host: for rsync's `-e`. */
  readonly words: readonly string[];
  readonly #login: string;

  constructor({ login, port }: Pick<SshPlace, 'login' | 'port'>, shell = 'ssh') {
    this.#login = login;
    this.words = [
      ...splitShellCommand(shell),
      '-o',
      'BatchMode=yes',
      '-o',
      'ServerAliveInterval=15',
      '-o',
      'ConnectTimeout=30',
      ...(port === undefined ? [] : ['-p', String(port)]),
    ];
  }

  /** A command that is run there by the login's shell, which gets each word as it is. */
  argv(command: readonly string[]): [string, ...string[]] {
    const [client = 'ssh', ...options] = this.words;
    return [client, ...options, '--', this.#login, command.map(quoted).join(' ')];
  }
}
