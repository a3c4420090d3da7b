import { afterAll } from 'vitest';
import type { FreezeMode } from '../../src/snapshots/provider.js';
import { providerByName } from '../../src/snapshots/registry.js';
import { snapshotProviderContract } from '../contract/snapshot-provider.js';
import { labGuest } from '../support/lab.js';
import { LabVolumeGroup } from '../support/lvm-lab.js';
import type { WorldKind } from '../support/snapshot-worlds.js';

const guest = labGuest();
const groups: LabVolumeGroup[] = [];

afterAll(async () => {
  for (const group of groups) await group.dispose();
});

/** Names with all that LVM allows in them; ext4 and XFS; each kind on a disk of its own. */
function lvmWorld(kind: 'classic' | 'thin', freezeMode: FreezeMode, disk: string): WorldKind {
  return {
    provider: 'lvm',
    title: `lvm: ${kind}, ${freezeMode}`,
    needs: ['root', 'ext4', 'xfs'],
    async make() {
      const group = await LabVolumeGroup.make(`lab-a.${kind}+_${freezeMode}`, [disk]);
      groups.push(group);
      const pool = kind === 'thin' ? { pool: 'po-ol.1' } : {};
      if (pool.pool !== undefined) await group.pool(pool.pool, 1200);
      const first = await group.volume({ lv: 'e-x.t+4_', fstype: 'ext4', sizeMiB: 200, ...pool });
      const second = await group.volume({ lv: 'x-f.s+_', fstype: 'xfs', ...pool });
      const own = new Set((await group.volumes()).map(({ lv }) => lv));
      return {
        mountpoints: [first.mountpoint, second.mountpoint],
        freezeMode,
        context: { nestedFreeze: guest.kernel, grouped: false },
        newProvider: () => providerByName('lvm'),
        stored: async () => (await group.volumes()).map(({ lv }) => lv).filter((lv) => !own.has(lv)),
      };
    },
  };
}

const [first = '', second = '', third = '', fourth = ''] = guest.disks;
if (guest.thorough || guest.kernel === 'leaks')
  snapshotProviderContract(lvmWorld('classic', 'native', first));
if (guest.thorough || guest.kernel === 'refuses')
  snapshotProviderContract(lvmWorld('thin', 'native', second));
if (guest.kernel === 'nests') {
  snapshotProviderContract(lvmWorld('classic', 'explicit', third));
  snapshotProviderContract(lvmWorld('thin', 'explicit', fourth));
}
