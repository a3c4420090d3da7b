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
    source: 'native/workers.c',
    text: '*silent_ms = 0;',
    because: 'a call that is in FIFREEZE would have to be seen outside of it for an instant, several times',
  },
  ...['free(queued);', 'napi_delete_async_work(env, queued->work);'].map((text) => ({
    source: 'native/addon-tasks.c',
    text,
    because: 'memory alone: some hundred bytes for each call of a command that ends',
  })),
  {
    source: 'native/addon-cache.c',
    text: 'return throw_errno(env, ENOMEM, task.syscall_name);',
    because: 'memory for a path would have to be wanting just then',
  },
  ...[
    'forget(env, queued);',
    'free(task->owned);',
    'throw_errno(env, ENOMEM, task->syscall_name);',
    'return NULL;',
  ].map((text) => ({
    source: 'native/addon-tasks.c',
    text,
    because: 'a Node without memory for a promise is needed, which V8 ends by itself as a rule',
  })),
  {
    source: 'src/freeze/frame-connection.ts',
    text: 'this.#waiting.delete(sequence);',
    because: 'memory alone: whoever has an answer, or has given up, is not changed by another',
  },
];
