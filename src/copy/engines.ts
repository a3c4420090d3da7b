import { createBorgEngine } from './borg/borg-engine.js';
import { createBtrfsSendEngine } from './btrfs/btrfs-send-engine.js';
import { createCommandEngine } from './command/command-engine.js';
import type { CopyEngine, EngineName } from './engine.js';
import { createImageEngine } from './image/image-engine.js';
import { createResticEngine } from './restic/restic-engine.js';
import { createRsyncEngine } from './rsync/rsync-engine.js';
import { createRsyncRemoteEngine } from './rsync-remote/rsync-remote-engine.js';
import { createTarCommandEngine } from './command/tar-command-engine.js';
import { createTarEngine } from './tar/tar-engine.js';
import { createZfsSendEngine } from './zfs/zfs-send-engine.js';
import type { EngineTarget } from '../backup-target.js';

const CREATE: Readonly<Record<EngineName, (target: EngineTarget) => CopyEngine>> = {
  rsync: (target) =>
    target.repository === undefined ? createRsyncEngine() : createRsyncRemoteEngine(target),
  tar: (target) => (target.repository === undefined ? createTarEngine() : createTarCommandEngine(target)),
  command: (target) => createCommandEngine(target),
  restic: (target) => createResticEngine(target),
  image: () => createImageEngine(),
  'btrfs-send': () => createBtrfsSendEngine(),
  'zfs-send': (target) => createZfsSendEngine(target),
  borg: (target) => createBorgEngine(target),
};

/** Makes the engine of a target. */
export type EngineFor = (target: EngineTarget) => CopyEngine;

/** The engine that a target's backups are made by, with the target's settings. Does nothing yet. */
export function engineFor(target: EngineTarget): CopyEngine {
  return CREATE[target.engine](target);
}
