import type { UnitProgram } from '../system/unit-programs.js';

/** What commands left running that ends with the unit of systemd that a run is; see `readUnitPrograms`. */
export class LeftRunning {
  readonly #read: () => Promise<UnitProgram[] | undefined>;
  readonly #left: { command: string; program: UnitProgram }[] = [];

  constructor(read: () => Promise<UnitProgram[] | undefined>) {
    this.#read = read;
  }

  /** Does `work`, which runs a command that messages call `command`. Nothing else may be started meanwhile. Rejects as it does. */
  async watch<T>(command: string, work: () => Promise<T>): Promise<T> {
    const before = await this.#read();
    try {
      return await work();
    } finally {
      if (before !== undefined)
        for (const program of await this.#outlived(before)) this.#left.push({ command, program });
    }
  }

  async #outlived(before: readonly UnitProgram[]): Promise<UnitProgram[]> {
    const now = (await this.#read()) ?? [];
    return now.filter((one) => !before.some((other) => isSame(one, other)));
  }

  /** At the end of the run: a sentence, without its full stop, of each command of which something still runs. */
  async warnings(): Promise<string[]> {
    if (this.#left.length === 0) return [];
    const now = (await this.#read()) ?? [];
    const left = this.#left.filter(({ program }) => now.some((one) => isSame(one, program)));
    return [...new Set(left.map(({ command }) => command))].map((command) => {
      const names = left.filter((one) => one.command === command).map(({ program }) => describe(program));
      return (
        `what the \`after\` of ${command} left running is in the unit of this run, and systemd kills it with that: ` +
        `${names.join(', ')}; let systemd start it, in a unit of its own (docs/systemd.md)`
      );
    });
  }
}

function isSame(one: UnitProgram, other: UnitProgram): boolean {
  return one.pid === other.pid && one.startTime === other.startTime;
}

function describe({ name, pid }: UnitProgram): string {
  return `${name} (pid ${pid})`;
}
