import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { FreezeMode, SnapshotProvider, SnapshotRef } from '../../src/snapshots/provider.js';
import { readFilesystemFacts } from '../../src/system/filesystem-facts.js';
import { readLogicalVolumes } from '../../src/system/lvm.js';
import { must } from './throwaway-filesystem.js';
import type { FrozenWindow } from './records.js';

export interface TakenByTest {
  ref: SnapshotRef;
  window: FrozenWindow;
}

/** Runs `work` with the filesystem frozen by fsfreeze(8); it is thawed whatever happens. */
export async function whileFrozen(mountpoint: string, work: () => Promise<void>): Promise<FrozenWindow> {
  const startMs = Date.now();
  await must('fsfreeze', '--freeze', mountpoint);
  try {
    await work();
  } finally {
    await must('fsfreeze', '--unfreeze', mountpoint);
  }
  return { startMs, endMs: Date.now() };
}

/** Takes one snapshot of what is mounted at `mountpoint`, frozen around it in the mode `explicit`. */
export async function takeSnapshot(
  provider: SnapshotProvider,
  mountpoint: string,
  name: string,
  freezeMode: FreezeMode,
): Promise<TakenByTest> {
  const { filesystem } = await readFilesystemFacts(mountpoint, {
    readVolumes: readLogicalVolumes,
    readZfs: true,
  });
  const [ref] = await provider.prepare([{ filesystem, name, freezeMode }]);
  if (ref === undefined) throw new Error('the provider prepared nothing');
  const create = (): Promise<void> => provider.create([ref], { signal: new AbortController().signal });
  if (freezeMode === 'explicit') return { ref, window: await whileFrozen(mountpoint, create) };
  const startMs = Date.now();
  await create();
  return { ref, window: { startMs, endMs: Date.now() } };
}

/** Exposes a snapshot at a new directory below `directory`; returns that. */
export async function exposeIn(
  provider: SnapshotProvider,
  ref: SnapshotRef,
  directory: string,
): Promise<string> {
  const where = path.join(directory, `exposed-${ref.name}`);
  await mkdir(where, { mode: 0o700 });
  return (await provider.expose(ref, where)).path;
}
