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
