import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { CACHE_DIRECTORY } from './cache.js';
import { must } from './process.js';
import { startMachine, type Accelerator } from './qemu.js';

/** A real KVM has booted the kernel within two seconds. */
const PROBE_MS = 15_000;

const KVM: Accelerator = { accel: 'kvm', cpu: 'max' };

/** Software emulation. Until qemu 10 its threads, one for each processor, corrupt the guest. */
function emulation(qemuVersion: string): Accelerator {
  const major = Number(/version (\d+)/.exec(qemuVersion)?.[1] ?? 0);
  return { accel: `tcg,thread=${major < 10 ? 'single' : 'multi'}`, cpu: 'qemu64' };
}

/** Whether a guest gets as far as its first program. There are /dev/kvm that let qemu start and then run nothing. */
async function boots(
  accelerator: Accelerator,
  kernel: { vmlinuz: string; initramfs: string },
): Promise<boolean> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'fsbackup-lab-probe-'));
  const file = path.join(directory, 'console');
  const { child } = startMachine({
    ...kernel,
    accelerator,
    append: ['lab.probe'],
    disks: [],
    console: { file },
    ports: [],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), PROBE_MS);
  try {
    await once(child, 'close');
    return (await readFile(file, 'utf8').catch(() => '')).includes('lab: the kernel runs');
  } finally {
    clearTimeout(timer);
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * KVM where it really runs a guest, else software emulation; `FSBACKUP_LAB_ACCEL` (`kvm` or `tcg`) decides otherwise.
 * What was found out holds until the next boot of this machine.
 */
export async function chooseAccelerator(kernel: {
  vmlinuz: string;
  initramfs: string;
}): Promise<Accelerator> {
  const qemuVersion = await must(['qemu-system-x86_64', '--version']);
  const wanted = process.env['FSBACKUP_LAB_ACCEL'];
  if (wanted === 'kvm') return KVM;
  if (wanted === 'tcg' || !existsSync('/dev/kvm')) return emulation(qemuVersion);
  if (wanted !== undefined && wanted !== '')
    throw new Error(`FSBACKUP_LAB_ACCEL is kvm or tcg, not ${wanted}`);
  const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const key = createHash('sha256').update(`${bootId}${qemuVersion}`).digest('hex').slice(0, 16);
  const memory = path.join(CACHE_DIRECTORY, 'accelerator');
  const [knownKey, known] = (await readFile(memory, 'utf8').catch(() => '')).split(' ');
  const kvmWorks = knownKey === key ? known === 'kvm' : await boots(KVM, kernel);
  if (knownKey !== key) await writeFile(memory, `${key} ${kvmWorks ? 'kvm' : 'tcg'}`);
  return kvmWorks ? KVM : emulation(qemuVersion);
}
