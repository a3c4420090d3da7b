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
