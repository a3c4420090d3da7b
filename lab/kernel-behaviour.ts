import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached } from './cache.js';
import { CHECKOUT } from './checkout.js';
import type { KernelBehaviour } from './guests.js';
import type { PreparedGuest } from './prepared-guest.js';
import { describeBroken, runJob } from './session.js';

const SCRIPT = 'lab/guest/kernel-behaviour';
const TIMEOUT_MS = 5 * 60_000;

function isBehaviour(word: string): word is KernelBehaviour {
  return ['refuses', 'leaks', 'nests'].includes(word);
}

/** What the guest's kernel does, tried out in the guest with LVM once for each of its images. */
export async function seenBehaviour(prepared: PreparedGuest): Promise<KernelBehaviour> {
  const images = prepared.disks.filter((disk) => disk.serial !== 'deps').map((disk) => disk.file);
  const directory = await cached({
    kind: `behaviour-${prepared.guest.name}-${prepared.kernelRelease}`,
    inputs: [await readFile(path.join(CHECKOUT, SCRIPT), 'utf8'), prepared.vmlinuz, ...images],
    build: async (result) => {
      let stdout = '';
      let stderr = '';
      const outcome = await runJob(prepared, {
        job: { argv: ['bash', '-c', `${SCRIPT} "\${FSBACKUP_LAB_DISKS%% *}"`], env: {} },
        timeoutMs: TIMEOUT_MS,
        onStdout: (chunk) => (stdout += chunk.toString()),
        onStderr: (chunk) => (stderr += chunk.toString()),
      });
      if (outcome.kind === 'broken') throw new Error(describeBroken(prepared, outcome));
      const seen = stdout.trim();
      if (outcome.exitCode !== 0 || !isBehaviour(seen)) {
        throw new Error(
          `${SCRIPT} in ${prepared.guest.name} ended with ${outcome.exitCode}: ${stdout}${stderr}`,
        );
      }
      await writeFile(path.join(result, 'behaviour'), seen);
    },
  });
  return (await readFile(path.join(directory, 'behaviour'), 'utf8')) as KernelBehaviour;
}
