import { expect, it } from 'vitest';
import type { StackedFilesystem } from '../../../src/freeze/guarded-devices.js';
import { resumeDevicesBelow } from '../../../src/freeze/resume-devices.js';

/** Answers one look after the other, the last again and again, and notes what is done. */
function aHost(...looks: string[][]) {
  const done: string[] = [];
  const below: string[][] = [];
  return {
    done,
    below,
    suspendedBelow: async (filesystems: readonly StackedFilesystem[]) => {
      below.push(filesystems.map(({ mount }) => mount.mountpoint));
      done.push('look');
      return (looks.length > 1 ? looks.shift() : looks[0]) ?? [];
    },
    run: async (argv: readonly string[]) => void done.push(argv.join(' ')),
  };
}

it('leaves alone what is not suspended', async () => {
  const host = aHost([]);
  await resumeDevicesBelow(['/proc', '/'], host);
  expect(host.done).toEqual(['look']);
  expect(host.below).toEqual([['/proc', '/']]);
});

it('resumes what stays suspended, with the table that it had, and not what another suspends for an instant', async () => {
  const host = aHost(['vg-pool', 'vg-srv', 'vg-brief'], ['vg-new', 'vg-pool', 'vg-srv'], ['vg-new']);
  const begun = performance.now();
  await resumeDevicesBelow(['/'], host);
  expect(performance.now() - begun).toBeGreaterThan(450);
  expect(host.done).toEqual([
    'look',
    'look',
    'dmsetup clear -- vg-pool',
    'dmsetup resume -- vg-pool',
    'dmsetup clear -- vg-srv',
    'dmsetup resume -- vg-srv',
    'look',
  ]);
});

it('names what may still be suspended, and what to run', async () => {
  await expect(resumeDevicesBelow(['/'], aHost(['vg-srv']))).rejects.toMatchObject({
    code: 'thawFailed',
    message: 'vg-srv may still be suspended',
    hint: expect.stringContaining('dmsetup clear vg-srv; dmsetup resume vg-srv') as string,
  });
});
