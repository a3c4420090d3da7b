import { createRsyncEngine } from '../../src/copy/rsync-engine.js';
import { createTarEngine } from '../../src/copy/tar-engine.js';
import { restoreInPlaceContract } from './restore-in-place.js';

restoreInPlaceContract(createRsyncEngine, ['program:rsync']);
restoreInPlaceContract(createTarEngine, ['program:tar', 'program:zstd']);
