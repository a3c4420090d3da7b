import { FsbackupError } from '../errors.js';
import { isMountedAt, unmount } from '../system/mount.js';
import { shellCommand } from '../system/command-line.js';
import { describeFailure, runCommand } from '../system/run-command.js';
import { throwIfAborted } from './aborted.js';
import {
  activateCommand,
  createCommand,
  devicePath,
  keepCommands,
  lvmDataOf,
  makeRoomCommands,
} from './lvm-commands.js';
import { checkLvmIntact } from './lvm-intact.js';
import { prepareLvm } from './lvm-prepare.js';
import { detectLvm } from './lvm-refusal.js';
import { exposeDevice } from './expose-device.js';
import { closeLayers, openLayers, type Layer } from './lvm-layers.js';
import { isSnapshotOf, ownVolumes, removeOwnVolumes } from './lvm-volumes.js';
import type {
  CreateOptions,
  Detection,
  DetectionContext,
  Exposure,
  FilesystemFacts,
  SnapshotProvider,
  SnapshotRef,
  SnapshotRequest,
} from './provider.js';
import { SnapshotTool } from './snapshot-tool.js';
import { faultPoint } from '../system/fault-point.js';

const CREATE_TIMEOUT_MS = 120_000;
const COMMAND_TIMEOUT_MS = 60_000;

/** What lies between the volume and the filesystem. */
function layersOf(ref: SnapshotRef): Layer[] {
  return JSON.parse(lvmDataOf(ref).layers) as Layer[];
}

async function must(argv: readonly [string, ...string[]], what: string): Promise<void> {
  const result = await runCommand(argv, { timeoutMs: COMMAND_TIMEOUT_MS });
  if (result.exitCode === 0) return;
  throw new FsbackupError('snapshotFailed', `${what}: ${describeFailure(argv[0], result)}`, {
    hint: `Try by hand: ${shellCommand(argv)}`,
  });
}

/** Rejects with `snapshotFailed` when the journal of an ext3 or ext4 shows that nothing had frozen it. */
async function requireFrozen(ref: SnapshotRef, device: string): Promise<void> {
  if (!ref.takenFrozen || !/^ext[34]$/.test(ref.fstype)) return;
  const { stdout } = await runCommand(['dumpe2fs', '-h', '--', device], { timeoutMs: COMMAND_TIMEOUT_MS });
  if (!/^Filesystem features:.*\bneeds_recovery\b/m.test(stdout)) return;
  const { vg, lv } = lvmDataOf(ref);
  throw new FsbackupError(
    'snapshotFailed',
    `The snapshot ${ref.name} was not taken frozen: its journal needs recovery`,
    {
      hint:
        `Somebody took a snapshot of ${vg}/${lv} while it was frozen, on a kernel that loses count then: ` +
        `unmount ${ref.mountpoint}, deactivate the volume (lvchange -an ${vg}/${lv}), activate and mount it again.`,
    },
  );
}

/**
 * Snapshots a filesystem on a logical volume of LVM, classic or thin. In `native` mode lvcreate freezes by itself; in
 * `explicit` mode the freeze is ours, and all that LVM can do before it is done in `makeReady`.
 */
export class LvmProvider implements SnapshotProvider {
  readonly name = 'lvm';
  readonly #tool = new SnapshotTool();

  detect(filesystem: FilesystemFacts, context: DetectionContext): Detection {
    return detectLvm(filesystem, context);
  }

  async prepare(requests: readonly SnapshotRequest[]): Promise<SnapshotRef[]> {
    return await prepareLvm(requests);
  }

  async makeReady(refs: readonly SnapshotRef[], { signal }: { signal: AbortSignal }): Promise<void> {
    for (const ref of refs) {
      for (const argv of makeRoomCommands(ref)) await this.#make(ref, argv, { signal });
      faultPoint('lvm.made-ready');
    }
  }

  /** Side by side for different volume groups; LVM's own lock makes those of one wait for each other. */
  async create(refs: readonly SnapshotRef[], options: CreateOptions): Promise<void> {
    const groups = new Map<string, SnapshotRef[]>();
    for (const ref of refs) {
      const { vg } = lvmDataOf(ref);
      groups.set(vg, [...(groups.get(vg) ?? []), ref]);
    }
    const makeAll = async (group: readonly SnapshotRef[]): Promise<void> => {
      for (const ref of group) {
        await this.#make(ref, createCommand(ref), options);
        faultPoint('lvm.created');
      }
    };
    const results = await Promise.allSettled([...groups.values()].map(makeAll));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #make(ref: SnapshotRef, argv: readonly [string, ...string[]], options: CreateOptions): Promise<void> {
    throwIfAborted(options.signal);
    await this.#tool.make(ref.name, argv, { ...options, timeoutMs: CREATE_TIMEOUT_MS });
  }

  async exists(ref: SnapshotRef): Promise<boolean> {
    return (await ownVolumes(ref)).some((volume) => isSnapshotOf(ref, volume));
  }

  async checkIntact(ref: SnapshotRef): Promise<void> {
    await checkLvmIntact(ref);
  }

  async expose(ref: SnapshotRef, directory: string): Promise<Exposure> {
    const data = lvmDataOf(ref);
    await this.#activate(ref);
    faultPoint('lvm.activated');
    const device = devicePath(data.vg, data.snapshot);
    await must(['blockdev', '--setro', device], `The snapshot ${ref.name} cannot be made read-only`);
    const { snapshot, keyFile } = data;
    const source = await openLayers(layersOf(ref), { device, snapshot, keyFile });
    if (!(await isMountedAt(directory))) await requireFrozen(ref, source);
    const { fstype, takenFrozen: clean } = ref;
    await exposeDevice({ device: source, directory, fstype, root: data.root, clean });
    faultPoint('lvm.mounted');
    return { snapshot: ref, path: directory };
  }

  /** A classic one is active from its making on, with its origin. */
  async #activate(ref: SnapshotRef): Promise<void> {
    const find = async () => (await ownVolumes(ref)).find((volume) => isSnapshotOf(ref, volume));
    const volume = await find();
    if (volume === undefined) {
      throw new FsbackupError('snapshotFailed', `The snapshot ${ref.name} does not exist`, {
        hint: 'Run the job again.',
      });
    }
    if (volume.majorMinor !== undefined) return;
    const argv = activateCommand(lvmDataOf(ref));
    await must(argv, `The snapshot ${ref.name} cannot be activated`);
    if ((await find())?.majorMinor !== undefined) return;
    throw new FsbackupError('snapshotFailed', `The snapshot ${ref.name} does not become active`, {
      hint: `Try by hand: ${shellCommand(argv)}`,
    });
  }

  async unexpose(exposure: Exposure): Promise<void> {
    await unmount(exposure.path);
    faultPoint('lvm.unmounted');
    await closeLayers(layersOf(exposure.snapshot), lvmDataOf(exposure.snapshot).snapshot);
  }

  /** Inactive, and with a tag that tells people why it is there. */
  async keep(ref: SnapshotRef): Promise<void> {
    const { vg, snapshot } = lvmDataOf(ref);
    await closeLayers(layersOf(ref), snapshot);
    for (const argv of keepCommands(vg, snapshot))
      await must(argv, `The snapshot ${ref.name} cannot be kept`);
  }

  async remove(ref: SnapshotRef): Promise<void> {
    await this.#tool.settled(ref.name);
    // Of an `expose` that was cut short.
    await closeLayers(layersOf(ref), lvmDataOf(ref).snapshot);
    await removeOwnVolumes(ref);
    faultPoint('lvm.removed');
  }
}
