import { describeFailure } from '../../system/run-command.js';
import { copyFailure, copyStopped, MAX_UNREADABLE } from '../copy-error.js';
import type { CheckRestoredRequest, VerifyFindings } from '../engine.js';
import { printable } from '../printable.js';
import { unescapeName } from './tar-output.js';
import type { TarArchive } from './tar-archive.js';
import { verifyMembers } from './tar-verify.js';

/** `srv/x: Contents differ`, `srv/x: Mode differs`, `srv/x: Not linked to srv/y`, on stdout. */
const DIFFERS = /^(.+?): (?:[A-Z][A-Za-z ]* differs?|Not linked to .*)$/;
/** On stderr. */
const MISSING = /^tar: (.+?): Warning: Cannot (?:stat|open|readlink): No such file or directory$/;

/**
 * `CopyEngine.checkRestored` for what came of an archive that the tar engine wrote: the archive against the digests that
 * were taken from the snapshot, and then what was restored against the archive, by tar itself: content, sizes, modes,
 * owners, times, links, devices. Extended attributes are not compared: tar does not.
 */
export async function checkRestoredByTar(
  request: CheckRestoredRequest,
  archive: TarArchive,
): Promise<VerifyFindings> {
  const { restored, signal } = request;
  const findings = await verifyMembers(request, archive);
  const { changed, missing } = findings;
  const told = new Set<string>();
  const lost = new Set(request.notInBackup);
  const add = (sample: typeof changed, name: string): void => {
    const live = `/${printable(unescapeName(name))}`;
    // It is not restored.
    if (lost.has(live)) return;
    // A file may differ in several ways, one line each.
    if (told.has(live)) return;
    if (told.size < MAX_UNREADABLE) told.add(live);
    sample.count += 1;
    if (sample.paths.length < MAX_UNREADABLE) sample.paths.push(live);
  };
  const result = await archive.tar(
    '--compare',
    ['--numeric-owner', '--quoting-style=escape', `--directory=${restored}`],
    {
      signal,
      onStdoutLine: (line) => {
        const name = DIFFERS.exec(line)?.[1];
        if (name !== undefined) add(changed, name);
      },
      onStderrLine: (line) => {
        const name = MISSING.exec(line)?.[1];
        if (name !== undefined) add(missing, name);
      },
    },
  );
  if (signal.aborted) throw copyStopped();
  if (result.notFound) throw copyFailure('tar', result);
  if (result.exitCode !== 0 && changed.count + missing.count === 0) {
    findings.problems.push(`what was restored cannot be compared: ${describeFailure('tar', result)}`);
  }
  return findings;
}
