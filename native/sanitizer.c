/*
 * For the sanitized build alone: a guard has neither environment nor output, so what would be in ASAN_OPTIONS is compiled
 * in. Leaks are looked for in the drivers of test/fuzz and not here: what a guard allocates, it keeps to its end.
 */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void) { return "detect_leaks=0:abort_on_error=1:log_path=" SANITIZER_REPORTS; }

const char *__ubsan_default_options(void) { return "print_stacktrace=1:log_path=" SANITIZER_REPORTS; }
