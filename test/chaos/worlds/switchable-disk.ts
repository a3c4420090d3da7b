import { must } from '../../support/throwaway-filesystem.js';

/** How many milliseconds each I/O of a stalled disk takes longer. */
export type DelayMs = number;

/** Left out at the start of the disk below: what lies on both would be found twice. 512 bytes each. */
const OFFSET_SECTORS = 2048;

/** A disk under another one's blocks, that can be told to stall or to fail. Needs device-mapper, so a guest of the lab. */
export class SwitchableDisk {
  /** `/dev/mapper/NAME` */
  readonly device: string;
  readonly #name: string;
  readonly #below: string;
  readonly #sectors: number;

  private constructor(name: string, below: string, sectors: number) {
    this.#name = name;
    this.#below = below;
    this.#sectors = sectors;
    this.device = `/dev/mapper/${name}`;
  }

  static async make(name: string, below: string): Promise<SwitchableDisk> {
    const sectors = Number(await must('blockdev', '--getsz', below)) - OFFSET_SECTORS;
    const disk = new SwitchableDisk(name, below, sectors);
    await must('dmsetup', 'create', name, '--table', disk.#table('linear'));
    await must('udevadm', 'settle', '--timeout=270');
    return disk;
  }

  #table(target: string, ...parameters: string[]): string {
    return [0, this.#sectors, target, this.#below, OFFSET_SECTORS, ...parameters].join(' ');
  }

  async #switchTo(table: string): Promise<void> {
    await must('dmsetup', 'load', this.#name, '--table', table);
    // Neither waits for what is under way, nor freezes the filesystem above: a disk that breaks asks nobody.
    await must('dmsetup', 'suspend', '--noflush', '--nolockfs', this.#name);
    await must('dmsetup', 'resume', this.#name);
  }

  /** Every read and write takes so much longer from now on. */
  async stall(delayMs: DelayMs): Promise<void> {
    await this.#switchTo(this.#table('delay', String(delayMs)));
  }

  /** Every read and write is EIO from now on: up for 0 seconds, down for an hour. */
  async fail(): Promise<void> {
    await this.#switchTo(this.#table('flakey', '0', '3600'));
  }

  /** As good as new. Idempotent. */
  async mend(): Promise<void> {
    await this.#switchTo(this.#table('linear'));
  }
}
