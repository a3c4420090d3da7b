/** The argument array of a program that is started by another one (`RestoreRequest.under`), or by itself. */
export function under(
  wrapper: readonly string[] | undefined,
  program: string,
  args: readonly string[],
): [string, ...string[]] {
  const [first, ...rest] = wrapper ?? [];
  return first === undefined ? [program, ...args] : [first, ...rest, program, ...args];
}
