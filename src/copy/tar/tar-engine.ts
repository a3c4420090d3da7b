import { chmod, open } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { runCommand, type CommandResult } from '../../system/run-command.js';
import { withCopyErrors } from '../copy-error.js';
import type {
  CheckRestoredRequest,
  CopyEngine,
  CopyRequest,
  CopyResult,
  RestoreRequest,
  VerifyFindings,
  VerifyRequest,
} from '../engine.js';
import { PACKER, packInto } from '../packed-file.js';
import { ARCHIVE, storedArchive } from './tar-archive.js';
import { checkRestoredByTar } from './tar-check-restored.js';
import { packSources } from './tar-pack.js';
import { restoreTar } from './tar-restore.js';
import { verifyTar } from './tar-verify.js';
import { checkTar } from './tar-version.js';

class TarEngine implements CopyEngine {
  readonly name = 'tar';
  readonly restoresInPlace = true;
  readonly #run: typeof runCommand;

  constructor(run: typeof runCommand) {
    this.#run = run;
  }

  preflight(): Promise<Record<string, string>> {
    return checkTar(this.#run);
  }

  copy(request: CopyRequest): Promise<CopyResult> {
    return withCopyErrors(() => this.#copy(request));
  }

  async #copy(request: CopyRequest): Promise<CopyResult> {
    const archive = path.join(request.dataDirectory, ARCHIVE);
    // tar would make it readable to all.
    await (await open(archive, 'w', 0o600)).close();
    const take = (stdinFrom: Readable): Promise<CommandResult> =>
      packInto(archive, { ...request, stdinFrom }, this.#run);
    const result = await packSources(request, { name: PACKER[0], take }, this.#run);
    await chmod(archive, 0o600);
    return result;
  }

  verify(request: VerifyRequest): Promise<VerifyFindings> {
    return withCopyErrors(() =>
      verifyTar(request, storedArchive(request.dataDirectory, this.#run), this.#run),
    );
  }

  checkRestored(request: CheckRestoredRequest): Promise<VerifyFindings> {
    return withCopyErrors(() => checkRestoredByTar(request, storedArchive(request.dataDirectory, this.#run)));
  }

  restore(request: RestoreRequest): Promise<CopyResult> {
    return withCopyErrors(() =>
      restoreTar(request, storedArchive(request.dataDirectory, this.#run), this.#run),
    );
  }
}

/**
 * Copies into one archive, `<data>/data.tar.zst`, with the member `srv/…` for `/srv/…`. Sockets cannot be in an
 * archive; immutable and append-only flags are not kept. An attempt that failed is begun anew.
 */
export function createTarEngine(run: typeof runCommand = runCommand): CopyEngine {
  return new TarEngine(run);
}
