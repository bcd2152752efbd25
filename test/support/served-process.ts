import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Client, type ClientOptions } from '@millrace/client'
import { childrenOf } from './process-figures'
import { http, type HttpAnswer } from './served'

/** The command. */
export const millrace = join(__dirname, '../../apps/cli/bin/millrace.js')

/** `millrace serve` as a process of its own, for what must be in the environment before a process starts. */
export class ServedProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    readonly adminPort: number,
    /** What it wrote to stderr until now. */
    readonly stderr: () => string,
  ) {}

  /**
   * Rejects with what it said when it does not serve.
   *
   * @param log a file to write stderr to, of itself and of its lanes; else it is kept here
   */
  static async start(repository: string, env: Readonly<Record<string, string>>, log?: number): Promise<ServedProcess> {
    const child = spawn(process.execPath, [millrace, 'serve', '-r', repository], {
      env: {
        ...process.env,
        MILLRACE_PORT: '0',
        MILLRACE_ADMIN_PORT: '0',
        MILLRACE_ARENA_BYTES: '64MiB',
        MILLRACE_PINNING: 'off',
        ...env,
      },
      stdio: ['ignore', 'pipe', log ?? 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()))
    const ports = await new Promise<RegExpExecArray>((resolve, reject) => {
      child.stdout!.on('data', (piece: Buffer) => {
        stdout += piece.toString()
        const found = /serves at \S+?:(\d+)\b[^]*admin http:\S+:(\d+)\/metrics/.exec(stdout)
        if (found !== null) resolve(found)
      })
      child.once('exit', (code) => reject(new Error(`millrace serve ended with ${code}: ${stderr}`)))
    })
    return new ServedProcess(child, Number(ports[1]), Number(ports[2]), () => stderr)
  }

  /** Of the supervisor. */
  get pid(): number {
    return this.child.pid!
  }

  /** Processes of the lanes that run. */
  lanes(): number[] {
    return childrenOf(this.pid)
  }

  client(options?: Partial<ClientOptions>): Client {
    return new Client({ url: `http://127.0.0.1:${this.port}`, retries: 0, ...options })
  }

  admin(path: string, method = 'GET', body = ''): Promise<HttpAnswer> {
    return http(this.adminPort, method, path, body)
  }

  /** Resolves with how it ended: a code, or a signal. */
  async ended(): Promise<number | string> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit')
    return this.child.exitCode ?? this.child.signalCode!
  }

  async stop(): Promise<number | string> {
    this.child.kill('SIGTERM')
    return this.ended()
  }
}
