import { describeNeeding } from '../support/capabilities.js';
import { btrfsSendWorld } from '../support/send-worlds.js';
import { sendEngineContract } from './send-engine.js';

const NEEDS = ['root', 'loop', 'btrfs', 'ext4'] as const;

describeNeeding([...NEEDS, 'program:btrfs', 'program:zstd', 'program:rsync'], 'snapshots of btrfs', () => {
  const traits = { name: 'btrfs-send', makesIncrements: true, smallFiles: 300 } as const;
  sendEngineContract(() => btrfsSendWorld('btrfs'), {
    ...traits,
    title: 'received by a btrfs',
    isWhole: true,
  });
  sendEngineContract(() => btrfsSendWorld('ext4'), { ...traits, title: 'as files', isWhole: false });
});
