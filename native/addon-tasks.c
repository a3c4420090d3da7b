/* Work that waits in the kernel, off Node's own thread: promises of it. */
#include "addon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct queued {
    struct task task;
    napi_async_work work;
    napi_threadsafe_function ended;
    napi_deferred deferred;
    napi_ref kept;
    int error;
};

static void forget(napi_env env, struct queued *queued) {
    if (queued->kept != NULL) napi_delete_reference(env, queued->kept);
    free(queued->task.owned);
    free(queued);
}

static void settle_promise(napi_env env, struct queued *queued) {
    napi_value value;
    if (queued->error != 0) {
        value = make_errno_error(env, queued->error, queued->task.syscall_name);
        napi_reject_deferred(env, queued->deferred, value);
    } else {
        napi_create_int32(env, queued->task.result, &value);
        napi_resolve_deferred(env, queued->deferred, value);
    }
}

static void execute(napi_env env, void *data) {
    (void)env;
    struct queued *queued = data;
    queued->error = queued->task.run(&queued->task);
}

/* Nothing is ever cancelled. */
static void complete(napi_env env, napi_status status, void *data) {
    (void)status;
    struct queued *queued = data;
    settle_promise(env, queued);
    napi_delete_async_work(env, queued->work);
    forget(env, queued);
}

/* NULL with a pending exception, the task's memory freed, when there is no memory. */
static struct queued *make_queued(napi_env env, const struct task *task, napi_value keep, napi_value *promise) {
    struct queued *queued = calloc(1, sizeof *queued);
    if (queued != NULL) {
        queued->task = *task;
        if ((keep == NULL || napi_create_reference(env, keep, 1, &queued->kept) == napi_ok) &&
            napi_create_promise(env, &queued->deferred, promise) == napi_ok)
            return queued;
        forget(env, queued);
    } else {
        free(task->owned);
    }
    throw_errno(env, ENOMEM, task->syscall_name);
    return NULL;
}

static napi_status to_pool(napi_env env, struct queued *queued, napi_value name) {
    napi_status status = napi_create_async_work(env, NULL, name, execute, complete, queued, &queued->work);
    return status == napi_ok ? napi_queue_async_work(env, queued->work) : status;
}

napi_value queue_task(napi_env env, const struct task *task, napi_value keep) {
    napi_value promise, name;
    struct queued *queued = make_queued(env, task, keep, &promise);
    if (queued == NULL) return NULL;
    if (napi_create_string_utf8(env, task->syscall_name, NAPI_AUTO_LENGTH, &name) == napi_ok &&
        to_pool(env, queued, name) == napi_ok)
        return promise;
    forget(env, queued);
    return throw_errno(env, ENOMEM, task->syscall_name);
}

/* On Node's own thread, once the other has ended. When Node itself ends there is no environment: what asks for one does nothing then. */
static void deliver(napi_env env, napi_value callback, void *context, void *data) {
    (void)callback;
    (void)context;
    settle_promise(env, data);
    forget(env, data);
}

static void *run_alone(void *data) {
    struct queued *queued = data;
    napi_threadsafe_function ended = queued->ended;
    pthread_detach(pthread_self());
    queued->error = queued->task.run(&queued->task);
    /* From here on it is Node's, which may have freed it already. */
    if (napi_call_threadsafe_function(ended, queued, napi_tsfn_blocking) == napi_ok)
        napi_release_threadsafe_function(ended, napi_tsfn_release);
    return NULL;
}

/* Signals are for Node's threads, which know what to do with them. 0 or an errno. */
static int start_thread(struct queued *queued) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, run_alone, queued);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

napi_value start_task(napi_env env, const struct task *task, napi_value keep) {
    napi_value promise, name;
    struct queued *queued = make_queued(env, task, keep, &promise);
    if (queued == NULL) return NULL;
    if (napi_create_string_utf8(env, task->syscall_name, NAPI_AUTO_LENGTH, &name) == napi_ok) {
        if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, deliver, &queued->ended) == napi_ok) {
            if (start_thread(queued) == 0) return promise;
            napi_release_threadsafe_function(queued->ended, napi_tsfn_abort);
        }
        /* No process may be left for one more thread: the pool has its threads already. */
        if (to_pool(env, queued, name) == napi_ok) return promise;
    }
    forget(env, queued);
    return throw_errno(env, ENOMEM, task->syscall_name);
}
