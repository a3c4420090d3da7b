import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from './throwaway-filesystem.js';

const CLIENT = [
  'StrictHostKeyChecking=no',
  'UserKnownHostsFile=/dev/null',
  'LogLevel=ERROR',
  'BatchMode=yes',
  // OpenSSH's own choice takes seven times as much of a processor, at each of a thousand connections.
  'KexAlgorithms=curve25519-sha256',
] as const;

/** A bound against hanging for ever. */
const LIMIT_MS = 280_000;

/** A port of the loopback that nobody listens at. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/** Waits until somebody listens at a port of the loopback. */
export async function listening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  while (Date.now() < deadline) {
    const socket = net.connect(port, '127.0.0.1');
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    if (child.exitCode !== null) throw new Error(`the server ended with exit code ${child.exitCode}`);
    await sleep(20);
  }
  throw new Error(`nobody listens at port ${port}`);
}

/** The processes of sshd below one of them, not what they run. From 9.8 on the one below a session's first has the connection. */
function sshdBelow(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.flatMap((child) =>
    readFileSync(`/proc/${child}/comm`, 'utf8').startsWith('sshd') ? [child, ...sshdBelow(child)] : [],
  );
}

/** An sshd of the test's own on the loopback, with keys of its own. */
export class SshServer {
  private constructor(
    readonly port: number,
    /** The client, with all that it needs to come in as root. */
    readonly client: string,
    private readonly identity: string,
    private readonly child: ChildProcess,
  ) {}

  static async start(directory: string): Promise<SshServer> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    // What sshd wants for its privilege separation, and the distribution makes when its own sshd is started.
    await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
    const at = (name: string): string => path.join(directory, name);
    for (const name of ['host', 'client'])
      await must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', at(name));
    await copyFile(at('client.pub'), at('authorized'));
    await chmod(at('authorized'), 0o600);
    const port = await freePort();
    const lines = [
      `HostKey ${at('host')}`,
      `AuthorizedKeysFile ${at('authorized')}`,
      'ListenAddress 127.0.0.1',
      `Port ${port}`,
      `PidFile ${at('pid')}`,
      'PermitRootLogin prohibit-password',
      'StrictModes no',
      'UsePAM no',
      'Subsystem sftp internal-sftp',
    ];
    await writeFile(at('config'), `${lines.join('\n')}\n`);
    const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', at('config')], { stdio: 'ignore' });
    await listening(port, child);
    const client = ['ssh', '-F', 'none', '-i', at('client'), ...CLIENT.flatMap((option) => ['-o', option])];
    return new SshServer(port, client.join(' '), at('client'), child);
  }

  /** Lines of ssh_config(5): how `ssh HOST` comes in as root. */
  config(host: string): string {
    const lines = [`HostName 127.0.0.1`, `Port ${this.port}`, `IdentityFile ${this.identity}`, ...CLIENT];
    return `Host ${host}\n${lines.map((line) => `  ${line.replace('=', ' ')}\n`).join('')}`;
  }

  /**
   * Ends the connections that there are, as a network that goes away; what runs at their ends is told nothing. At once: what
   * goes over them meanwhile may be all that was left.
   */
  dropConnections(): void {
    const { pid = 0 } = this.child;
    for (const session of sshdBelow(pid)) process.kill(session, 'SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill();
    await once(this.child, 'exit');
  }
}
