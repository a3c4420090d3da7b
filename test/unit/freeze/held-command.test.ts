import { expect, it } from 'vitest';
import { startHeldCommand } from '../../../src/freeze/held-command.js';

it.each([
  ['/bin/true', 0],
  ['/bin/false', 1],
])('gives what the command ended with: %s', async (file, exitCode) => {
  expect(await startHeldCommand(file, [file]).ended).toEqual({ exitCode });
});

it('passes a signal on, and no more once it has ended', async () => {
  const command = startHeldCommand('/bin/sleep', ['sleep', '60']);
  command.kill('SIGTERM');
  expect(await command.ended).toEqual({ exitCode: 143 });
  expect(() => command.kill('SIGTERM')).not.toThrow();
});

it.each([
  ['that is not there', '/nowhere/command', [], 127],
  ['with more arguments than the kernel takes', '/bin/true', ['x'.repeat(4_000_000)], 126],
])('tells why one could not be started %s', async (_, file, args, exitCode) => {
  const command = startHeldCommand(file, [file, ...args]);
  expect(await command.ended).toEqual({ exitCode, notStarted: expect.stringContaining('spawn') as string });
  expect(() => command.kill('SIGTERM')).not.toThrow();
});
