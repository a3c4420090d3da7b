import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';

/** How the guest's instructions are run, as qemu's `-accel` and `-cpu` want it. */
export interface Accelerator {
  accel: string;
  cpu: string;
}

export interface Disk {
  /** By which the guest knows it; at most 20 characters. */
  serial: string;
  file: string;
  /** Whether what the guest writes is thrown away, so that the file can be shared. */
  throwAway: boolean;
}

export interface Machine {
  /** The start of qemu's command line. */
  emulator: readonly string[];
  accelerator: Accelerator;
  vmlinuz: string;
  initramfs: string;
  /** Processors; `DEFAULT_CPUS` when left out. */
  cpus?: number | undefined;
  /** Words of the kernel's command line. */
  append: readonly string[];
  disks: readonly Disk[];
  /** A file for what the guest says on its console, or this process's own terminal. */
  console: { file: string } | 'terminal';
  /** Names of virtio-serial ports. */
  ports: readonly string[];
}

const MEMORY_MIB = 2048;
/** Of a guest that runs alone. */
export const DEFAULT_CPUS = 2;
const FIRST_PORT_FD = 3;

/** qemu's options and their values; `true` for one without a value. */
type Options = readonly (readonly [name: string, value: string | true])[];

function diskOptions(disk: Disk): Options {
  const snapshot = disk.throwAway ? 'on' : 'off';
  const drive = `file=${disk.file},format=raw,if=none,id=${disk.serial},snapshot=${snapshot},cache=unsafe,discard=unmap`;
  return [
    ['drive', drive],
    ['device', `virtio-blk-pci,drive=${disk.serial},serial=${disk.serial}`],
  ];
}

function portOptions(name: string, index: number): Options {
  return [
    ['chardev', `socket,id=${name},fd=${FIRST_PORT_FD + index}`],
    ['device', `virtserialport,chardev=${name},name=${name}`],
  ];
}

function machineArguments(machine: Machine): string[] {
  const { accelerator } = machine;
  const consoleDevice =
    machine.console === 'terminal'
      ? 'stdio,id=console,signal=off'
      : `file,id=console,path=${machine.console.file}`;
  const options: Options = [
    ['nodefaults', true],
    ['no-user-config', true],
    ['no-reboot', true],
    ['display', 'none'],
    ['accel', accelerator.accel],
    ['cpu', accelerator.cpu],
    ['smp', String(machine.cpus ?? DEFAULT_CPUS)],
    ['m', String(MEMORY_MIB)],
    ['kernel', machine.vmlinuz],
    ['initrd', machine.initramfs],
    // A panic ends the guest at once: it is told to reboot, and qemu not to.
    ['append', ['console=ttyS0', 'panic=-1', 'oops=panic', ...machine.append].join(' ')],
    ...machine.disks.flatMap(diskOptions),
    ['chardev', consoleDevice],
    ['serial', 'chardev:console'],
    ['device', 'virtio-rng-pci'],
    ['device', 'virtio-serial-pci'],
    ...machine.ports.flatMap(portOptions),
  ];
  return options.flatMap(([name, value]) => (value === true ? [`-${name}`] : [`-${name}`, value]));
}

/** A qemu that runs, and its ports by name. */
export interface RunningMachine {
  child: ChildProcess;
  ports: ReadonlyMap<string, Duplex>;
}

/** Starts qemu. It is killed when this process ends, however that ends; a limit of time is the caller's. */
export function startMachine(machine: Machine): RunningMachine {
  const terminal = machine.console === 'terminal' ? 'inherit' : 'ignore';
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...machine.emulator, ...machineArguments(machine)], {
    stdio: [terminal, terminal, 'pipe', ...machine.ports.map(() => 'pipe' as const)],
  });
  const ports = new Map(
    machine.ports.map((name, index) => [name, child.stdio[FIRST_PORT_FD + index] as Duplex] as const),
  );
  return { child, ports };
}
