import { sendEngineContract } from '../contract/send-engine.js';
import { describeInLab } from '../support/lab.js';
import { LAB_SIZES } from '../support/lab-sizes.js';
import { thinImageWorld } from '../support/image-thin-world.js';

describeInLab({ once: 'refuses' }, 'images of thin volumes', ({ disks }) => {
  const traits = { name: 'image', makesIncrements: true, sizes: LAB_SIZES, isWhole: false } as const;
  for (const fstype of ['ext4', 'xfs'] as const) {
    sendEngineContract(() => thinImageWorld(disks, fstype), {
      ...traits,
      title: `a thin volume, ${fstype}`,
      ...(fstype === 'ext4' ? {} : { isVariant: true }),
    });
  }
});
