#!/usr/bin/env node
// A frozen server waits for this one: it begins before oclif is loaded, which takes longer than the thaw.
if (process.argv[2] === 'thaw') {
  const { beginThaw } = await import('../dist/freeze/early-thaw.js');
  await beginThaw(process.argv.slice(3));
}
const { main } = await import('../dist/main.js');

await main();
