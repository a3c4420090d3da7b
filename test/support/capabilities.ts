// oxlint-disable vitest/no-conditional-tests, vitest/valid-title, vitest/valid-describe-callback, vitest/expect-expect
// -- those rules read test files; this one builds a `describe` out of vitest's.
import { accessSync, constants, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';
import { findPostgresql } from './databases/postgresql-server.js';

/** What a test may need of the host beyond Node; `program:NAME` is a program on the PATH, sbin included. */
export type Capability =
  'root' | 'loop' | 'ext4' | 'xfs' | 'btrfs' | 'cgroup2' | 'postgresql' | `program:${string}`;

const PROGRAM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const CAP_SYS_ADMIN = 21n;

function canAccess(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}

function hasProgram(name: string): boolean {
  return PROGRAM_DIRECTORIES.some((directory) => canAccess(path.join(directory, name), constants.X_OK));
}

/** Root in a container may lack CAP_SYS_ADMIN, without which nothing here can be mounted or frozen. */
function canAdminister(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return process.geteuid?.() === 0 && ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

function has(capability: Capability): boolean {
  switch (capability) {
    case 'root':
      return canAdminister();
    case 'loop':
      return canAccess('/dev/loop-control', constants.R_OK | constants.W_OK);
    case 'ext4':
    case 'xfs':
    case 'btrfs':
      return hasProgram(`mkfs.${capability}`);
    case 'cgroup2':
      return readFileSync('/proc/self/mountinfo', 'utf8').includes(' - cgroup2 ');
    case 'postgresql':
      return findPostgresql() !== undefined;
    default:
      return hasProgram(capability.slice('program:'.length));
  }
}

/** Those of `needs` that this host lacks. */
export function lacking(needs: readonly Capability[]): Capability[] {
  return needs.filter((need) => !has(need));
}

/**
 * A `describe` whose tests need something of the host. Where that is missing they are skipped, and the report says
 * for want of what; with `CI=true` that is a failure, since a test that nobody runs guards nothing.
 */
export function describeNeeding(needs: readonly Capability[], name: string, body: () => void): void {
  const lacks = lacking(needs);
  if (lacks.length === 0) {
    describe(name, body);
    return;
  }
  const want = `for want of ${lacks.join(', ')}`;
  if (process.env['CI'] === 'true') {
    describe(name, () => {
      it('can run on this host', () => {
        throw new Error(`With CI=true no test may be skipped; "${name}" cannot run ${want}.`);
      });
    });
    return;
  }
  describe.skipIf(true)(`${name} (skipped ${want})`, body);
}
