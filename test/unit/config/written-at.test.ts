import { expect, it } from 'vitest';
import { atPlace, rememberPlace } from '../../../src/config/written-at.js';
import { FsbackupError } from '../../../src/errors.js';
import { aJob } from '../../support/plan-facts.js';

const missing = new FsbackupError('usage', '/srv does not exist', { hint: 'Mount it.' });

it('says where a path was written when it is the path that is wrong', () => {
  const [source] = aJob({ name: 'srv' }).sources;
  if (source === undefined) throw new Error('a job without a source');
  expect(atPlace(source, missing)).toBe(missing);
  rememberPlace(source, { file: 'c.yaml', line: 5, column: 9, path: 'jobs.srv.sources[0]', message: '' });
  expect(atPlace(source, missing)).toMatchObject({
    code: 'usage',
    message: 'c.yaml:5:9: jobs.srv.sources[0]: /srv does not exist',
    hint: 'Mount it.',
  });
  expect(atPlace({ ...source }, missing)).toBe(missing);
  const hanging = new FsbackupError('notFrozen', '/srv does not answer', { hint: 'See what serves it.' });
  expect(atPlace(source, hanging)).toBe(hanging);
  const bug = new TypeError('x is undefined');
  expect(atPlace(source, bug)).toBe(bug);
});
