import { localRepository } from '../../backup-target.js';
import { messageOf } from '../../errors.js';
import type { BackupName, BackupWriter } from '../../run/dependencies.js';
import type { FilesystemIdentity } from '../../system/filesystem-identity.js';
import { HeldFilesystem } from '../../system/held-filesystem.js';
import { isNameTelling, isSameHost, thisHost } from '../../system/this-host.js';
import { fsbackupVersion } from '../../system/version.js';
import { backupDirectory, dataDirectory, digestFile, type BackupRef } from './backup-layout.js';
import { findParent } from './backup-list.js';
import { beginBackup, completeBackup, discardIncomplete } from './backup-store.js';
import { whyDoubtful } from '../verify/doubtful-backups.js';
import { engineFor, type EngineFor } from '../engines.js';
import { describeFuture } from './future-backups.js';
import { allNeeded } from './needed-backups.js';
import { readManifest, type Manifest } from './manifest.js';
import { preflightRepository } from '../repository/preflight-repository.js';
import { preflightTarget } from '../target/preflight-target.js';
import { refuseLossyTarget } from '../target/refuse-lossy.js';
import { rememberFilesystem } from '../target/target-identity.js';
import { asStorage } from '../target/target-storage.js';
import type { Origins } from './tree-origins.js';
import { readVerifications, type Verifications } from '../verify/verify-history.js';

function refOf({ target, job, backupId }: BackupName): BackupRef {
  return { target: target.path, job, backupId };
}

/**
 * What a backup was read from, for a new one of this host. Of a host that has another name now nobody can tell whether it
 * is another one, cloned with its id and its filesystems.
 */
function trustedOrigins({ host, sources, origins }: Manifest): Origins | undefined {
  const self = thisHost();
  if (host === undefined || !isSameHost(host, self)) return undefined;
  if (host.name !== self.name && isNameTelling(self)) return undefined;
  return origins && Object.fromEntries(sources.map((source, index) => [source, origins[index] ?? '']));
}

function keyOf(target: string, job: string): string {
  return `${job}@${target}`;
}

/** The backups in the targets, for a run. One writer serves any number of runs, one after the other. */
export function createBackupWriter(
  options: { stateDirectory?: string; historyDirectory?: string; engines?: EngineFor } = {},
): BackupWriter {
  const { engines = engineFor } = options;
  const identities = new Map<string, FilesystemIdentity>();
  /** The filesystems of the backups that were begun and are not complete, since before they were, by their directories. */
  const held = new Map<string, HeldFilesystem>();
  const letGo = async (ref: BackupRef): Promise<void> => {
    const filesystem = held.get(backupDirectory(ref));
    held.delete(backupDirectory(ref));
    await filesystem?.close();
  };
  return {
    async preflight(target, job, sources) {
      const isHere = target.repository === undefined;
      identities.set(
        keyOf(target.path, job),
        isHere
          ? await preflightTarget(target, job, sources, options.stateDirectory)
          : await preflightRepository({
              target,
              job,
              engine: engines(target),
              stateDirectory: options.stateDirectory,
            }),
      );
      if (isHere && target.engine === 'rsync') await refuseLossyTarget(target.path);
    },

    storage: ({ target, job }) => asStorage(identities.get(keyOf(target.path, job))),

    async begin(name) {
      const ref = refOf(name);
      const { parent, future } = await findParent(ref.target, ref.job, name.target.engine);
      try {
        await beginBackup(ref, {
          canGoOn: name.target.engine === 'rsync',
          beforeWriting: async (directory) => {
            held.set(backupDirectory(ref), await HeldFilesystem.open(directory));
          },
        });
      } catch (error) {
        // Nobody discards what was never begun, and its disk is not to be kept in use.
        await letGo(ref);
        throw error;
      }
      return {
        dataDirectory: dataDirectory(ref),
        parentDataDirectory: parent === undefined ? undefined : dataDirectory(parent),
        parentBackupId: parent?.backupId,
        parentOrigins: parent === undefined ? undefined : trustedOrigins(parent.manifest),
        warnings: parent === undefined ? [] : describeFuture(future, parent),
        digests: {
          file: digestFile(ref),
          parent:
            parent?.manifest.digests === undefined
              ? undefined
              : { file: digestFile(parent), algorithm: parent.manifest.digests.algorithm },
        },
      };
    },

    async complete(name, facts) {
      const ref = refOf(name);
      const identity = identities.get(keyOf(ref.target, ref.job));
      if (identity === undefined) throw new Error(`${backupDirectory(ref)} was begun without a preflight`);
      // First, since a backup with a manifest cannot fail any more.
      const directory = localRepository(name.target) ?? ref.target;
      await rememberFilesystem(
        { job: ref.job, target: ref.target, directory },
        identity,
        options.stateDirectory,
      );
      const filesystem = held.get(backupDirectory(ref));
      const manifest: Manifest = {
        version: 1,
        fsbackupVersion: fsbackupVersion(),
        job: ref.job,
        backupId: ref.backupId,
        engine: name.target.engine,
        completedAt: new Date().toISOString(),
        sources: [...facts.sources],
        files: facts.files,
        bytes: facts.bytes,
        unreadable: [...facts.unreadable],
        tools: { ...facts.tools },
        ...(facts.digests === undefined ? {} : { digests: facts.digests }),
        ...(facts.needs === undefined ? {} : { needs: await allNeeded(ref, facts.needs) }),
        host: thisHost({ mayMake: true }),
        ...(facts.origins === undefined
          ? {}
          : { origins: facts.sources.map((source) => facts.origins?.[source] ?? '') }),
        report: facts.report,
      };
      await completeBackup(ref, manifest, filesystem);
      await letGo(ref);
    },

    async completeData(name) {
      const ref = refOf(name);
      return (await readManifest(ref)).state === 'complete' ? dataDirectory(ref) : undefined;
    },

    async doubt(name) {
      const ref = refOf(name);
      const state = await readManifest(ref);
      if (state.state !== 'complete') return undefined;
      const { repository } = name.target;
      let verifications: Verifications;
      try {
        verifications = await readVerifications([ref.job], [name.target], options.historyDirectory);
      } catch (error) {
        return `what was verified of the backups before cannot be read: ${messageOf(error)}`;
      }
      return await whyDoubtful(
        { ...ref, ...(repository === undefined ? {} : { repository }), ...state },
        verifications,
      );
    },

    async discardIncomplete(name, how) {
      const ref = refOf(name);
      try {
        const filesystem = held.get(backupDirectory(ref));
        const found = await discardIncomplete(ref, name.target.engine, engines, { ...how, held: filesystem });
        return typeof found === 'object' ? found.keptIn : undefined;
      } finally {
        await letGo(ref);
      }
    },
  };
}
