import type { CopyEngine, EngineName } from './engine.js';
import { createRsyncEngine } from './rsync-engine.js';
import { createTarEngine } from './tar-engine.js';

const CREATE: Readonly<Record<EngineName, () => CopyEngine>> = {
  rsync: createRsyncEngine,
  tar: createTarEngine,
};

/** The engine of that name. */
export function engineByName(name: EngineName): CopyEngine {
  return CREATE[name]();
}
