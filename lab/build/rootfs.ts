import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { LabApt } from '../apt.js';
import { cached } from '../cache.js';
import { COMMON_PACKAGES, type Guest } from '../guests.js';
import { must } from '../process.js';
import { makeImage } from './image.js';

/** Raised when the steps below would make something else of the same inputs. */
const STEPS = '1';
const SIZE_MIB = 3072;
/** A bound against hanging: the build of OpenZFS is in it, and the machine may be busy. */
const MINUTES = 50;

/** What nobody reads in a guest. */
const LEFT_OUT = ['doc', 'man', 'info', 'locale', 'i18n', 'lintian', 'bash-completion'];

/**
 * Runs mmdebstrap into `directory`, an empty one, with the packages named and what they need.
 * @param hooks shell commands that it runs at its end; `$1` is the root of the new system
 */
export async function debootstrap(
  apt: LabApt,
  directory: string,
  options: { packages: readonly string[]; hooks: readonly string[] },
): Promise<void> {
  await must(
    [
      'mmdebstrap',
      '--quiet',
      '--mode=root',
      '--variant=essential',
      '--format=directory',
      '--architectures=amd64',
      `--include=${options.packages.join(',')}`,
      ...LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
      ...apt.options.map((option) => `--aptopt=${option}`),
      '--aptopt=Apt::Install-Recommends "false"',
      ...options.hooks.map((hook) => `--customize-hook=${hook}`),
      '',
      directory,
      apt.sourcesFile,
    ],
    { timeoutMs: MINUTES * 60_000, env: { DEBIAN_FRONTEND: 'noninteractive' } },
  );
}

/** The image of a guest's system, without a kernel and its modules. */
export async function buildRootfs(apt: LabApt, guest: Guest): Promise<string> {
  const packages = [...new Set([...COMMON_PACKAGES, ...guest.packages])].toSorted();
  const versions = await apt.candidates(packages);
  const directory = await cached({
    kind: `rootfs-${guest.name}`,
    inputs: [STEPS, guest.release, ...versions.map(({ name, version }) => `${name}=${version}`)],
    build: async (result) => {
      const root = path.join(result, 'root');
      await debootstrap(apt, root, { packages, hooks: [] });
      // The mirror's name stays out of the guest, which has no network anyway.
      for (const name of ['etc/apt', 'var/lib/apt', 'var/cache/apt']) {
        await rm(path.join(root, name), { recursive: true, force: true });
      }
      for (const name of ['job', 'deps', 'usr/lib/modules'])
        await mkdir(path.join(root, name), { recursive: true });
      await writeFile(path.join(root, 'etc/hostname'), 'lab\n');
      await writeFile(path.join(root, 'etc/hosts'), '127.0.0.1 localhost lab\n');
      await rm(path.join(root, 'etc/resolv.conf'), { force: true });
      await makeImage(path.join(result, 'image'), { directory: root, sizeMiB: SIZE_MIB });
      await rm(root, { recursive: true });
    },
  });
  return path.join(directory, 'image');
}
