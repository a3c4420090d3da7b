import { closeSync, constants, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, FsbackupError, messageOf } from '../errors.js';
import {
  addDevice,
  isSuspended,
  measureDevices,
  openWatch,
  publishEnded,
  publishStarted,
  publishStarting,
  readWatch,
  settleWatch,
  stopMeasuring,
  type PageHandle,
} from '../system/native.js';
import type { CommandWatch } from '../system/run-command.js';
import type { DeviceLossReason, DeviceOutcome, GuardedDevice, LossReason } from './freezer.js';
import { resumeCommand, suspendedError } from './guarded-devices.js';
import { deviceLossReason, lossNumber, WatchState } from './protocol.js';
import { within } from './within.js';

/** Device-mapper, as the kernel of this host has it. */
export interface DeviceMapper {
  control: string;
  isSuspended: typeof isSuspended;
  measureDevices: typeof measureDevices;
  stopMeasuring: typeof stopMeasuring;
}

const DEVICE_MAPPER: DeviceMapper = {
  control: '/dev/mapper/control',
  isSuspended,
  measureDevices,
  stopMeasuring,
};
/** Whatever suspends a device for an instant is done by then. */
const CHECKS = 10;
const CHECK_INTERVAL_MS = 100;
/** The measurement stops within a millisecond; one that hangs in the kernel is not waited for. */
const MEASURED_WITHIN_MS = 500;

/** None is suspended and none becomes so without a program that was killed and hangs in the kernel. */
const SETTLED: ReadonlySet<number> = new Set([WatchState.ended, WatchState.lingering]);

function openControl(devices: readonly GuardedDevice[], control: string): number {
  try {
    return openSync(control, constants.O_RDWR);
  } catch (error) {
    const names = devices.map(({ name }) => name).join(', ');
    throw new FsbackupError(
      'notFrozen',
      `${control} cannot be opened (${errnoOf(error) ?? messageOf(error)}), so nobody could resume ${names}`,
      {
        hint: 'A snapshot command that dies would leave it suspended. Run as root, where that file and CAP_SYS_ADMIN are.',
        cause: error,
      },
    );
  }
}

/** False for a device that was removed meanwhile. Rejects with `notFrozen` for one that stays suspended. */
async function isRunning(mapper: DeviceMapper, controlFd: number, device: GuardedDevice): Promise<boolean> {
  try {
    for (let check = 1; mapper.isSuspended(controlFd, device.majorMinor); check += 1) {
      if (check === CHECKS) throw suspendedError(device);
      await sleep(CHECK_INTERVAL_MS);
    }
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENXIO') return false;
    throw error;
  }
}

/** The devices of a freezer's page, and the programs that may suspend them. */
export class DeviceWatch {
  /** An open /dev/mapper/control, for the guards too. */
  readonly controlFd: number;
  readonly #devices: readonly GuardedDevice[];
  readonly #page: PageHandle;
  readonly #mapper: DeviceMapper;
  #measuring: Promise<boolean> | undefined;

  private constructor(
    devices: readonly GuardedDevice[],
    page: PageHandle,
    mapper: DeviceMapper,
    controlFd: number,
  ) {
    this.#devices = devices;
    this.#page = page;
    this.#mapper = mapper;
    this.controlFd = controlFd;
  }

  /**
   * Puts the devices into a page that no guard has seen yet. Rejects with `notFrozen` when one is suspended, or when
   * device-mapper cannot be spoken to.
   */
  static async create(
    devices: readonly GuardedDevice[],
    page: PageHandle,
    mapper = DEVICE_MAPPER,
  ): Promise<DeviceWatch> {
    const controlFd = openControl(devices, mapper.control);
    const running: GuardedDevice[] = [];
    try {
      for (const device of devices) {
        if (!(await isRunning(mapper, controlFd, device))) continue;
        addDevice(page, device.majorMinor);
        running.push(device);
      }
      return new DeviceWatch(running, page, mapper, controlFd);
    } catch (error) {
      closeSync(controlFd);
      if (error instanceof FsbackupError) throw error;
      throw new FsbackupError(
        'notFrozen',
        `device-mapper cannot be asked for its devices: ${messageOf(error)}`,
        {
          hint: 'Run as root with CAP_SYS_ADMIN, outside of a container.',
          cause: error,
        },
      );
    }
  }

  /** Starts deadline and measurement. Throws an Error with code ECANCELED when the dead-man was faster. */
  open(): void {
    openWatch(this.#page);
    this.#measuring = this.#mapper.measureDevices(this.#page, this.controlFd).then(
      () => true,
      () => true,
    );
  }

  /** Throws when the dead-man has ended the watch. */
  watchCommand(): CommandWatch {
    const page = this.#page;
    const command = publishStarting(page);
    return {
      started: (processGroup) => publishStarted(page, command, processGroup),
      ended: () => publishEnded(page, command),
    };
  }

  /** Undefined while no deadline counts. */
  get deadlineMs(): number | undefined {
    const { state, deadlineMs } = readWatch(this.#page);
    return state === WatchState.open ? deadlineMs : undefined;
  }

  get loss(): DeviceLossReason | undefined {
    return deviceLossReason(readWatch(this.#page).loss);
  }

  /** None is suspended. */
  get settled(): boolean {
    return SETTLED.has(readWatch(this.#page).state);
  }

  /** None is suspended, or can become so. */
  get over(): boolean {
    return readWatch(this.#page).state === WatchState.ended;
  }

  /** Settles without the guards. Resolves to whether all is settled. */
  async settle(loss: LossReason | undefined): Promise<boolean> {
    const number = loss === undefined ? 0 : lossNumber(loss);
    return SETTLED.has(await settleWatch(this.#page, this.controlFd, number));
  }

  /** Ends the measurement. */
  async measured(): Promise<void> {
    this.#mapper.stopMeasuring(this.#page);
    if (this.#measuring !== undefined) await within(MEASURED_WITHIN_MS, this.#measuring);
  }

  outcomes(): DeviceOutcome[] {
    const { loss, longestGapMs, devices } = readWatch(this.#page);
    return this.#devices.map((device, index) => {
      const { resumed = 0, suspendedMs = 0, firstSuspendedMs = 0 } = devices[index] ?? {};
      return {
        device,
        lost: deviceLossReason(loss),
        resumed: resumed === 1,
        suspendedMs: firstSuspendedMs === 0 ? longestGapMs : suspendedMs,
      };
    });
  }

  /** What is to be said when `settle` gave up. */
  stuckError(): FsbackupError {
    const facts = readWatch(this.#page).devices;
    const failing = this.#devices.filter((_, index) => facts[index]?.errno !== 0);
    const suspects = failing.length > 0 ? failing : this.#devices;
    // The lowest first, as the dead-man does it.
    const names = suspects.map(({ name }) => name).toReversed();
    return new FsbackupError(
      'thawFailed',
      `${names.join(', ')} may still be suspended: device-mapper does not resume it`,
      {
        hint: `Run "${names.map(resumeCommand).join('; ')}", and look at "lvs -a" and the kernel log (dmesg).`,
      },
    );
  }

  close(): void {
    this.#mapper.stopMeasuring(this.#page);
    closeSync(this.controlFd);
  }
}
