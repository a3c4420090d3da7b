import { execa } from 'execa';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { clearAway, thawAll } from './left-behind.js';
import type { Tests } from './tests-of.js';
import { TypeCheck } from './type-check.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
/** What is made of the sources. */
const BUILT = ['dist', 'native/build'];
const BUILD_MS = 120_000;
/** A test that waits for what a mutant never does is red then. */
const TEST_MS = 60_000;
const UNIT_TEST_MS = 10_000;

/** What came of a mutant: `passed` is what must not be. */
export interface Trial {
  outcome: 'not built' | 'failed' | 'hung' | 'passed';
  /** The first test that failed, or what the compiler or vitest said. */
  because: string;
}

function firstFailure(output: string): string {
  const failed = /FAIL\s+(?<test>[^\n]*)/.exec(output)?.groups?.['test'];
  return failed ?? output.trim().split('\n').slice(-3).join(' | ');
}

/** A copy of the checkout in which statements are deleted, with a place of its own for what its tests make. */
export class Workshop {
  readonly #directory: string;
  readonly #checkout: string;
  readonly #scratch: string;
  readonly #mountpoint: string;
  #types: TypeCheck | undefined;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#checkout = path.join(directory, 'checkout');
    // Its loop devices are known by its name, which no other run has; short, for the paths of sockets in it.
    this.#scratch = path.join(directory, directory.slice(-6));
    this.#mountpoint = path.join(directory, 'mnt');
  }

  /** Copies what git knows, and what was built. Needs a build. */
  static async open(): Promise<Workshop> {
    // Not by our own name: a test kills whatever bears that, and its killer lies in here.
    const shop = new Workshop(await mkdtemp(path.join(os.tmpdir(), 'mutants-')));
    // Some tests are other users'.
    await chmod(shop.#directory, 0o755);
    await mkdir(shop.#scratch);
    await mkdir(shop.#mountpoint);
    const listed = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const { stdout } = await execa('git', listed, { cwd: ROOT });
    for (const file of [...stdout.split('\0').filter(Boolean), ...BUILT]) await shop.#fetch(file);
    await symlink(path.join(ROOT, 'node_modules'), path.join(shop.#checkout, 'node_modules'));
    return shop;
  }

  async #fetch(file: string): Promise<void> {
    await cp(path.join(ROOT, file), path.join(this.#checkout, file), { recursive: true });
  }

  /** `source`: by its path in the checkout. */
  async read(source: string): Promise<string> {
    return await readFile(path.join(this.#checkout, source), 'utf8');
  }

  /**
   * Builds with `mutated` in the place of a source, and runs the tests until the first that fails; a file of them that takes
   * longer than `limitMs` hangs. TypeScript is checked first, and built only where the tests that load the source itself pass.
   */
  async attempt(source: string, mutated: string, tests: Tests, limitMs: number): Promise<Trial> {
    const file = path.join(this.#checkout, source);
    const original = await this.read(source);
    const isC = source.endsWith('.c');
    try {
      await writeFile(file, mutated);
      if (!isC) {
        this.#types ??= new TypeCheck(this.#checkout);
        const because = this.#types.errorIn(file);
        if (because !== undefined) return { outcome: 'not built', because };
      }
      const loaded = await this.#testAll(tests.modules, limitMs);
      if (loaded.outcome !== 'passed' || tests.built.length === 0) return loaded;
      // Copied in the same tick of the clock as the source was written, it would pass for newer, and the mutant never be built.
      if (isC) await rm(path.join(this.#checkout, 'native/build'), { recursive: true });
      const because = await this.#build(
        isC ? ['scripts/build-native'] : ['node_modules/.bin/tsx', 'scripts/bundle.ts'],
      );
      if (because !== undefined) return { outcome: 'not built', because };
      return await this.#testAll(tests.built, limitMs);
    } finally {
      await writeFile(file, original);
      for (const built of BUILT) await this.#fetch(built);
    }
  }

  /** What the builder has against it; undefined: nothing. */
  async #build([program, ...args]: readonly [string, ...string[]]): Promise<string | undefined> {
    const options = { cwd: this.#checkout, reject: false, all: true, timeout: BUILD_MS } as const;
    const built = await execa(path.join(this.#checkout, program), args, options);
    if (built.exitCode === 0) return undefined;
    return built.all.split('\n').find((line) => line.includes('error:')) ?? built.all;
  }

  /** One file after the other: vitest has an order of its own. */
  async #testAll(tests: readonly string[], limitMs: number): Promise<Trial> {
    let trial: Trial = { outcome: 'passed', because: 'no test' };
    for (const test of tests) {
      trial = await this.#test(test, limitMs);
      if (trial.outcome !== 'passed') break;
    }
    return trial;
  }

  async #test(test: string, limitMs: number): Promise<Trial> {
    const testMs = test.startsWith('test/unit/') ? UNIT_TEST_MS : TEST_MS;
    const limits = [`--testTimeout=${testMs}`, `--hookTimeout=${testMs}`];
    const vitest = [
      'node_modules/.bin/vitest',
      'run',
      '--configLoader=runner',
      '--bail=1',
      '--reporter=default',
    ];
    const child = execa('unshare', ['--mount', '--propagation', 'private', ...vitest, ...limits, test], {
      cwd: this.#checkout,
      env: { TMPDIR: this.#scratch, NO_COLOR: '1', CI: '' },
      reject: false,
      all: true,
      detached: true,
    });
    let hung = false;
    const deadline = setTimeout(() => {
      hung = true;
      void this.#end(child.pid);
    }, limitMs);
    const result = await child;
    clearTimeout(deadline);
    const left = await clearAway(this.#scratch, this.#mountpoint);
    await rm(this.#scratch, { recursive: true, force: true });
    await mkdir(this.#scratch);
    const because = `${firstFailure(result.all)}${left.guards > 0 ? `; left ${left.guards} guards` : ''}`;
    if (hung) return { outcome: 'hung', because };
    return { outcome: result.exitCode === 0 ? 'passed' : 'failed', because };
  }

  /** Who waits for a frozen filesystem cannot be killed: thawed first. */
  async #end(pid: number | undefined): Promise<void> {
    await thawAll(this.#scratch, this.#mountpoint);
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  }

  async close(): Promise<void> {
    this.#types?.close();
    await clearAway(this.#scratch, this.#mountpoint);
    await rm(this.#directory, { recursive: true, force: true });
  }
}
