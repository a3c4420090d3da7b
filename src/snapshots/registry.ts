import type { SnapshotCommands } from '../config/types.js';
import { ficlone } from '../system/native.js';
import { BtrfsProvider } from './btrfs-provider.js';
import { CommandProvider } from './command-provider.js';
import type { ProviderName, SnapshotProvider } from './provider.js';
import { LvmProvider } from './lvm-provider.js';
import { MirrorProvider } from './mirror-provider.js';
import { ReflinkProvider } from './reflink-provider.js';
import { ZfsProvider } from './zfs-provider.js';

/**
 * The provider of that name. `commands` are the `command` provider's; without them it can release the snapshots of
 * other processes and make none. What one provider prepared, only the same object can create.
 */
export function providerByName(name: ProviderName, commands?: SnapshotCommands): SnapshotProvider {
  const makers: Record<ProviderName, () => SnapshotProvider> = {
    reflink: () => new ReflinkProvider(ficlone),
    btrfs: () => new BtrfsProvider(),
    zfs: () => new ZfsProvider(),
    lvm: () => new LvmProvider(),
    mirror: () => new MirrorProvider(),
    command: () => new CommandProvider(commands),
  };
  return makers[name]();
}

/** Those that `auto` tries, in this order: all that need no configuration. */
export function automaticProviders(): SnapshotProvider[] {
  return [providerByName('reflink'), providerByName('btrfs'), providerByName('zfs'), providerByName('lvm')];
}
