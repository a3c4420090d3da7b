import { beforeAll, describe, expect, it } from 'vitest';
import { findGuest } from '../../lab/guests.js';
import { prepareGuest } from '../../lab/prepare.js';
import type { PreparedGuest } from '../../lab/prepared-guest.js';
import { runJob } from '../../lab/session.js';

/** Longer than an emulated guest takes to go down, and shorter than the freeze would last. */
const FREEZE_SECONDS = 110;
const DOWN_MS = 240_000;

/** A filesystem with something to say about how it was unmounted: to the console, as the last of all. */
const PREPARE = `set -e
set -- $FSBACKUP_LAB_DISKS
mkfs.ext4 -q -F "$1"
mkdir -p /srv /backup /etc/fsbackup
mount "$1" /srv
cat >/usr/lib/systemd/system-shutdown/lab <<EOF
#!/bin/sh
state=\\$(dumpe2fs -h $1 2>/dev/null | sed -n 's/^Filesystem state: *//p')
echo "lab: unmounted \\$state, needs recovery: \\$(dumpe2fs -h $1 2>/dev/null | grep -c needs_recovery)" >/dev/console
EOF
chmod 755 /usr/lib/systemd/system-shutdown/lab
fsbackup() { node bin/run.js "$@"; }
`;

const BY_HAND = `fsbackup freeze --timeout ${FREEZE_SECONDS} --max-hold ${FREEZE_SECONDS} /srv
`;

const BY_THE_UNIT = `cat >/etc/fsbackup/config.yaml <<EOF
version: 1
jobs:
  srv:
    sources:
      - path: /srv
        snapshot: command
        freezeMode: explicit
        commands:
          create: [sh, -c, 'touch /run/hanging; sleep 600']
          expose: ['false']
          remove: ['true']
    targets: [/backup]
    freeze: { timeout: ${FREEZE_SECONDS}s, maxHold: ${FREEZE_SECONDS}s }
EOF
chmod 600 /etc/fsbackup/config.yaml
fsbackup schedule install srv
systemctl start --no-block fsbackup@srv
while ! [ -e /run/hanging ]; do sleep 0.2; done
`;

const GO_DOWN = `echo 'lab: going down' >/dev/console
systemctl poweroff
sleep 600
`;

describe('a shutdown while a filesystem is frozen', () => {
  let prepared: PreparedGuest;

  beforeAll(async () => {
    prepared = await prepareGuest(findGuest('systemd'));
  }, 900_000);

  it.each([
    ['by hand', BY_HAND],
    ['by the unit of a job', BY_THE_UNIT],
  ])(
    '%s: is unmounted clean, and holds nothing up',
    async (_, freeze) => {
      let said = '';
      const outcome = await runJob(prepared, {
        job: { argv: ['bash', '-c', PREPARE + freeze + GO_DOWN], env: {} },
        timeoutMs: DOWN_MS,
        onStdout: (chunk) => void (said += chunk.toString()),
        onStderr: (chunk) => void (said += chunk.toString()),
      });
      // It says nothing of how the job ended: it has gone down, and has not hung.
      expect(outcome, said).toMatchObject({
        kind: 'broken',
        reason: expect.stringMatching(/^it ended before the job did/),
        consoleTail: expect.stringMatching(/lab: going down[^]*lab: unmounted clean, needs recovery: 0/),
      });
    },
    600_000,
  );
});
