import path from 'node:path';
import { LabApt } from '../apt.js';
import { cached } from '../cache.js';
import { debootstrap } from './rootfs.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';
/**
 * Whatever release the machine has: qemu 7.2, of Debian 12, corrupts emulated guests. Of the boots of a 6.12 kernel one
 * in ten panicked, with one thread or two, and none of sixty under qemu 10.
 */
const RELEASE = 'trixie';
const PACKAGE = 'qemu-system-x86';

/** A qemu of the lab's own: the start of its command line. It is unpacked with its libraries, not installed. */
export async function buildEmulator(): Promise<readonly string[]> {
  const apt = await LabApt.open(RELEASE);
  const versions = await apt.candidates([PACKAGE]);
  const directory = await cached({
    kind: 'emulator',
    inputs: [STEPS, ...versions.map(({ name, version }) => `${name}=${version}`)],
    build: async (result) => {
      await debootstrap(apt, path.join(result, 'root'), {
        variant: 'extract',
        packages: [PACKAGE],
        hooks: [],
      });
    },
  });
  const usr = path.join(directory, 'root/usr');
  return [
    path.join(usr, 'lib64/ld-linux-x86-64.so.2'),
    '--library-path',
    path.join(usr, 'lib/x86_64-linux-gnu'),
    path.join(usr, 'bin/qemu-system-x86_64'),
    ...['qemu', 'seabios'].flatMap((name) => ['-L', path.join(usr, 'share', name)]),
  ];
}
