import { describeNeeding } from '../support/capabilities.js';
import { btrfsSendWorld, reflinkImageWorld } from '../support/send-worlds.js';
import { sendEngineContract } from './send-engine.js';

const NEEDS = ['root', 'loop', 'btrfs', 'ext4'] as const;

describeNeeding([...NEEDS, 'program:btrfs', 'program:zstd', 'program:rsync'], 'snapshots of btrfs', () => {
  const traits = { name: 'btrfs-send', makesIncrements: true } as const;
  sendEngineContract(() => btrfsSendWorld('btrfs'), {
    ...traits,
    title: 'received by a btrfs',
    isWhole: true,
  });
  sendEngineContract(() => btrfsSendWorld('ext4'), { ...traits, title: 'as files', isWhole: false });
});

describeNeeding([...NEEDS, 'xfs', 'program:zstd', 'program:rsync'], 'images of filesystems in files', () => {
  const traits = { name: 'image', makesIncrements: false, isWhole: true } as const;
  for (const fstype of ['ext4', 'xfs'] as const)
    sendEngineContract(() => reflinkImageWorld(fstype), { ...traits, title: `${fstype} in a file` });
});
