const SECRET = /PASS|SECRET|TOKEN|KEY|CREDENTIAL|_SAS$/i;

/** Where a secret is to be found, or which one is meant: a file, a command, a descriptor, an address, the id of a key. */
const TELLS_WHERE = /(?:_|PASS)(?:FILE|COMMAND|PATH|DIR|FD|URI|HINT)$|ASKPASS$/i;

/** Documented variables of restic and borg whose names alone do not tell that they hold no secret. */
const NO_SECRETS: ReadonlySet<string> = new Set([
  // The name of a file.
  'GOOGLE_APPLICATION_CREDENTIALS',
  // Which credential, and not what it is.
  'OS_APPLICATION_CREDENTIAL_ID',
  'OS_APPLICATION_CREDENTIAL_NAME',
  // Yes or no.
  'AZURE_FORCE_CLI_CREDENTIAL',
  'BORG_DISPLAY_PASSPHRASE',
]);

/** Whether what a variable of that name holds is to be read from where others do not see it. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name) && !TELLS_WHERE.test(name) && !NO_SECRETS.has(name);
}
