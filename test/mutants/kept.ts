/** A statement that may be deleted, and no test of the host sees it. */
export interface Kept {
  /** Its path in the checkout. */
  source: string;
  text: string;
  /** Why it stands there all the same, or where else it is tested. */
  because: string;
}

export const KEPT: readonly Kept[] = [
  {
    source: 'native/start.c',
    text: 'waitpid(guard.second_pid, NULL, 0);',
    because:
      'the locks that the second has inherited are free before the command line hears of the refusal: a race that the killed one wins',
  },
  {
    source: 'native/start.c',
    text: 'guard.dm_fd = guard.page->device_count == 0 ? -1 : FD_FIRST_SLOT + 2 * (int)guard.slot_count;',
    because: 'a kernel with device-mapper is needed: test/lab/device-mapper-guards.test.ts',
  },
  {
    source: 'src/freeze/frame-connection.ts',
    text: 'this.#waiting.delete(sequence);',
    because: 'memory alone: whoever has an answer, or has given up, is not changed by another',
  },
];
