import path from 'node:path';
import { expect, it } from 'vitest';
import { findCommand, NOT_EXECUTABLE, NOT_FOUND } from '../../../src/system/find-command.js';

it('looks a path that is relative up where the program is to be run: in / for those of the configuration', async () => {
  const own = path.relative('/', import.meta.filename);
  expect(await findCommand('./bin/sh', '')).toEqual({ file: '/bin/sh' });
  expect(await findCommand(own, '')).toEqual({ exitCode: NOT_EXECUTABLE });
  expect(await findCommand('./package.json', '')).toEqual({ exitCode: NOT_FOUND });
  // Of a caller, in whose directory it runs.
  expect(await findCommand('./package.json', '', '')).toEqual({ exitCode: NOT_EXECUTABLE });
  expect(await findCommand('./package.json', '', '/')).toEqual({ exitCode: NOT_FOUND });
});

it('looks a name up in the search path', async () => {
  expect(await findCommand('sh', '/nowhere:/bin')).toEqual({ file: '/bin/sh' });
  expect(await findCommand('sh', '/nowhere')).toEqual({ exitCode: NOT_FOUND });
});
