// oxlint-disable vitest/valid-title, vitest/expect-expect, vitest/no-conditional-tests -- those rules read test files
import { it } from 'vitest';

/** `it` for what applies. What a contract does not ask of an implementation is not there at all, so not skipped. */
export function itWhere(applies: boolean, name: string, body: () => Promise<void>, timeoutMs?: number): void {
  if (applies) it(name, body, timeoutMs);
}
