import process from 'node:process';
import { providerByName } from '../../src/snapshots/registry.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';

// A program: prepares and creates a reflink snapshot, says so on stdout, and waits to be killed.
// `node --import tsx test/support/snapshot-holder.ts MOUNTPOINT`

const [, , mountpoint] = process.argv;
if (mountpoint === undefined) throw new Error('usage: snapshot-holder.ts MOUNTPOINT');

const { filesystem } = await readFilesystemFacts(mountpoint);
const provider = providerByName('reflink');
const refs = await provider.prepare([{ filesystem, name: 'fsbackup-held', freezeMode: 'explicit' }]);
await provider.create(refs, { signal: new AbortController().signal });
process.stdout.write(`${JSON.stringify(refs[0])}\n`);
setInterval(() => undefined, 60_000);
