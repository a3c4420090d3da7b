import { beforeAll, describe, expect, it } from 'vitest';
import { findGuest } from '../../lab/guests.js';
import { prepareGuest } from '../../lab/prepare.js';
import type { PreparedGuest } from '../../lab/prepared-guest.js';
import { runJob } from '../../lab/session.js';

/** As long as a freeze may be. */
const FREEZE_SECONDS = 110;
const DOWN_MS = 400_000;

/** Two filesystems, frozen by hand and by the unit of a job, and what tells how they were unmounted, as the last of all. */
const SCRIPT = `set -e
set -- $FSBACKUP_LAB_DISKS
fsbackup() { node bin/run.js "$@"; }
mkdir -p /hand /srv /backup /etc/fsbackup /usr/lib/systemd/system-shutdown
mkfs.ext4 -q -F "$1"
mkfs.ext4 -q -F "$2"
mount "$1" /hand
mount "$2" /srv
cat >/usr/lib/systemd/system-shutdown/lab <<EOF
#!/bin/sh
for disk in $1 $2; do
  dumpe2fs -h \\$disk 2>/dev/null | sed -n "s|^Filesystem state: *|lab: \\$disk is |p" >/dev/console
  dumpe2fs -h \\$disk 2>/dev/null | grep -q needs_recovery || echo "lab: \\$disk was unmounted" >/dev/console
done
EOF
chmod 755 /usr/lib/systemd/system-shutdown/lab
cat >/etc/fsbackup/config.yaml <<EOF
version: 1
jobs:
  srv:
    sources:
      - path: /srv
        snapshot: command
        freezeMode: explicit
        commands:
          create: [sh, -c, 'touch /run/hanging; sleep 600']
          expose: ['false', '{directory}']
          remove: ['true']
    targets: [/backup]
    freeze: { timeout: ${FREEZE_SECONDS}s, maxHold: ${FREEZE_SECONDS}s }
EOF
chmod 600 /etc/fsbackup/config.yaml
chmod -R go-w bin dist
fsbackup schedule install srv
systemctl start --no-block fsbackup@srv
while ! [ -e /run/hanging ]; do sleep 0.2; done
fsbackup freeze --timeout ${FREEZE_SECONDS} --max-hold ${FREEZE_SECONDS} /hand
echo 'lab: going down' >/dev/console
systemctl poweroff
sleep 600
`;

describe('a shutdown while filesystems are frozen', () => {
  let prepared: PreparedGuest;

  beforeAll(async () => {
    prepared = await prepareGuest(findGuest('systemd'));
  }, 900_000);

  it('thaws what the unit of a job froze, and what was frozen by hand, and unmounts both', async () => {
    let said = '';
    const outcome = await runJob(prepared, {
      job: { argv: ['bash', '-c', SCRIPT], env: {} },
      timeoutMs: DOWN_MS,
      onStdout: (chunk) => void (said += chunk.toString()),
      onStderr: (chunk) => void (said += chunk.toString()),
    });
    // It says nothing of how the job ended: it has gone down, and has not hung.
    expect(outcome, said).toMatchObject({
      kind: 'broken',
      reason: expect.stringMatching(/^it ended before the job did/),
    });
    const [, console = ''] = (outcome.kind === 'broken' ? outcome.consoleTail : '').split('lab: going down');
    expect(console.match(/lab: \/dev\/vd\w is clean/g), console).toHaveLength(2);
    expect(console.match(/lab: \/dev\/vd\w was unmounted/g), console).toHaveLength(2);
  }, 900_000);
});
