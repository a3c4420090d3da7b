import { rename, rm, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import path from 'node:path';
import { ensurePrivateDirectory, runDirectory } from './directories.js';
import { packageRoot } from './package-root.js';
import { readProcessIdentity } from './process-identity.js';
import { runAtMost } from './run-at-most.js';
import { describeFailure } from './run-command.js';
import { readTrustedFile } from './trusted-file.js';

/**
 * What a kernel does when a block device freezes itself (device-mapper's suspend with lockfs) while its filesystem is
 * frozen by FIFREEZE: `refuses` with EBUSY (before 6.8), `leaks` (from 6.8 to the fix fe967191e585: the freeze works
 * and the device can never be mounted again), or `nests`. `unknown`: not tested.
 */
export type NestedFreeze = 'refuses' | 'leaks' | 'nests' | 'unknown';

/** What the self-test found, or why it found nothing. */
export type NestedFreezeVerdict =
  { behaviour: Exclude<NestedFreeze, 'unknown'> } | { behaviour: 'unknown'; reason: string };

/** It takes some 60 ms. */
const TEST_TIMEOUT_MS = 20_000;

function isBehaviour(text: string): text is Exclude<NestedFreeze, 'unknown'> {
  return text === 'refuses' || text === 'leaks' || text === 'nests';
}

/**
 * Tests the kernel (native/nested-freeze.c): a freeze, inside it a freeze of the device, a thaw and a second mount, on
 * a filesystem of the test's own, in memory. Needs root, a loop device and mkfs.ext4. Never rejects.
 */
export async function testNestedFreeze(): Promise<NestedFreezeVerdict> {
  const result = await runAtMost([path.join(packageRoot(), 'native/build/nested-freeze')], {
    timeoutMs: TEST_TIMEOUT_MS,
    cwd: '/',
  });
  const behaviour = result.stdout.trim();
  if (result.exitCode === 0 && isBehaviour(behaviour)) return { behaviour };
  return { behaviour: 'unknown', reason: describeFailure('the self-test', result) };
}

/** Which kernel a verdict holds for: a reboot may bring another, and kexec does too. */
async function kernelNow(): Promise<{ bootId: string; release: string }> {
  return { bootId: (await readProcessIdentity()).bootId, release: release() };
}

function verdictFrom(
  text: string,
  kernel: { bootId: string; release: string },
): NestedFreezeVerdict | undefined {
  const [bootId, kernelRelease, behaviour = ''] = text.trim().split('\n');
  if (bootId !== kernel.bootId || kernelRelease !== kernel.release) return undefined;
  return isBehaviour(behaviour) ? { behaviour } : undefined;
}

/** The file of a run directory that keeps the verdict. */
export function nestedFreezeCache(directory = runDirectory()): string {
  return path.join(directory, 'nested-freeze');
}

/** Written beside and renamed: a reader never sees half of it. */
async function keep(file: string, lines: readonly string[]): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  await ensurePrivateDirectory(path.dirname(file));
  await rm(temporary, { force: true });
  await writeFile(temporary, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' });
  await rename(temporary, file);
}

/**
 * What this kernel does with nested freezes: tested once per boot, then taken from the run directory. What could not
 * be tested is not kept: the next call tries again. A cache that cannot be trusted or written only costs a test.
 * Never rejects.
 */
export async function readNestedFreeze(
  test: () => Promise<NestedFreezeVerdict> = testNestedFreeze,
  file = nestedFreezeCache(),
): Promise<NestedFreezeVerdict> {
  const kernel = await kernelNow();
  const text = await readTrustedFile(file).catch(() => undefined);
  const known = text === undefined ? undefined : verdictFrom(text, kernel);
  if (known !== undefined) return known;
  const verdict = await test();
  if (verdict.behaviour === 'unknown') return verdict;
  await keep(file, [kernel.bootId, kernel.release, verdict.behaviour]).catch(() => undefined);
  return verdict;
}
