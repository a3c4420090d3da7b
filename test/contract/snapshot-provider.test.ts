import { WORLD_KINDS } from '../support/snapshot-worlds.js';
import { snapshotProviderContract } from './snapshot-provider.js';

for (const kind of WORLD_KINDS) snapshotProviderContract(kind);
