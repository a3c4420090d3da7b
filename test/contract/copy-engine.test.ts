import { createRsyncEngine } from '../../src/copy/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar-engine.js';
import { copyEngineContract } from './copy-engine.js';

for (const fstype of ['ext4', 'xfs'] as const) {
  copyEngineContract(createRsyncEngine, { keepsSockets: true, needs: ['program:rsync'] }, fstype);
  copyEngineContract(
    createTarEngine,
    { keepsSockets: false, needs: ['program:tar', 'program:zstd'] },
    fstype,
  );
}
