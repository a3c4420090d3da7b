import type { BlockStack } from './block-stack.js';
import type { Mount } from './mountinfo.js';
import { parseRows, poolOf, readPool, refusePool, runZfs, type ZfsProblem, type ZfsVolume } from './zfs.js';
import { parseZvolName, zvolOfDisk } from './zvol.js';

/** The zvol under a stack of devices; undefined where there is none. */
async function locateZvol(stack: BlockStack): Promise<ZfsVolume | undefined> {
  const [top] = stack;
  const device = stack.map(({ name }) => parseZvolName(name)).find((found) => found !== undefined);
  if (device === undefined) return undefined;
  const { disk, partition } = device;
  const dataset = await zvolOfDisk(disk);
  const volume = {
    dataset: dataset ?? disk,
    kind: 'volume',
    ...(partition === undefined ? {} : { partition }),
  } as const;
  if (dataset === undefined) {
    return {
      ...volume,
      problem: {
        reason: `which zvol /dev/${disk} is cannot be told`,
        hint: `See what this says: /lib/udev/zvol_id /dev/${disk}. It comes with the programs of ZFS (zfs-udev).`,
      },
    };
  }
  if (parseZvolName(top.name) !== undefined) return volume;
  return {
    ...volume,
    problem: {
      reason: `${top.name} lies between it and the zvol ${dataset}, and a clone of that would lack it`,
      hint: 'Configure `snapshot: command`, with commands that open the same layers over a clone of the zvol.',
    },
  };
}

async function problemOf({ dataset, kind }: ZfsVolume): Promise<ZfsProblem | undefined> {
  if (dataset.includes('@')) {
    return {
      reason: `${dataset} is a snapshot, and ZFS makes no snapshot of a snapshot`,
      hint: `Name what ${dataset.split('@', 1)[0]} is mounted at, or copy the snapshot itself with \`snapshot: none\`.`,
    };
  }
  const pool = await readPool(poolOf(dataset));
  const refused = refusePool(pool);
  if (refused !== undefined || 'reason' in pool) return refused;
  if (pool.isReadOnly) {
    return {
      reason: `its pool ${pool.name} is imported read-only`,
      hint: `Import it without readonly=on, or copy the live ${kind} with \`snapshot: none\`: nothing writes to it.`,
    };
  }
  return undefined;
}

/**
 * The dataset that a mount shows, or the zvol that it lies on, with what stands in the way of a snapshot; undefined
 * where there is neither, and no program is started then. Never rejects for what ZFS says.
 */
export async function readZfsVolume(
  mount: Mount,
  stack: BlockStack | undefined,
): Promise<ZfsVolume | undefined> {
  const located: ZfsVolume | undefined =
    mount.fstype === 'zfs'
      ? { dataset: mount.source, kind: 'filesystem' }
      : stack === undefined
        ? undefined
        : await locateZvol(stack);
  if (located === undefined || located.problem !== undefined) return located;
  const problem = await problemOf(located);
  return { ...located, ...(problem === undefined ? {} : { problem }) };
}

/** Parses `zfs list -H -o name,mounted,canmount`; those that hold files nobody can see. Pure. */
export function parseUnmounted(output: string): string[] {
  return (
    parseRows(output)
      // Of canmount=off are those that only pass their properties on.
      .filter(([, mounted, canmount]) => mounted === 'no' && canmount !== 'off')
      .flatMap(([name]) => name ?? [])
  );
}

/**
 * The datasets below a dataset that are mounted nowhere, so that no submount shows them: canmount=noauto, a mountpoint
 * `none` or `legacy`, a key that is not loaded. Empty where that cannot be told.
 */
export async function unmountedDatasets({ dataset, kind, problem }: ZfsVolume): Promise<string[]> {
  if (kind === 'volume' || problem !== undefined) return [];
  const columns = 'name,mounted,canmount';
  const result = await runZfs(['zfs', 'list', '-H', '-r', '-t', 'filesystem', '-o', columns, dataset]);
  return result.exitCode === 0 ? parseUnmounted(result.stdout).filter((name) => name !== dataset) : [];
}
