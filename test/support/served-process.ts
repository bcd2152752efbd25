import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Client } from '@millrace/client'
import { http, type HttpAnswer } from './served'

/** `millrace serve` as a process of its own, for what must be in the environment before a process starts. */
export class ServedProcess {
  private constructor(
    private readonly child: ChildProcess,
    private readonly port: number,
    private readonly adminPort: number,
    /** What it wrote to stderr until now. */
    readonly stderr: () => string,
  ) {}

  /** Rejects with what it said when it does not serve. */
  static async start(repository: string, env: Readonly<Record<string, string>>): Promise<ServedProcess> {
    const bin = join(__dirname, '../../apps/cli/bin/millrace.js')
    const child = spawn(process.execPath, [bin, 'serve', '-r', repository], {
      env: {
        ...process.env,
        MILLRACE_PORT: '0',
        MILLRACE_ADMIN_PORT: '0',
        MILLRACE_ARENA_BYTES: '64MiB',
        MILLRACE_PINNING: 'off',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
    const ports = await new Promise<RegExpExecArray>((resolve, reject) => {
      child.stdout.on('data', (piece: Buffer) => {
        stdout += piece.toString()
        const found = /serves at \S+?:(\d+)\b[^]*admin http:\S+:(\d+)\/metrics/.exec(stdout)
        if (found !== null) resolve(found)
      })
      child.once('exit', (code) => reject(new Error(`millrace serve ended with ${code}: ${stderr}`)))
    })
    return new ServedProcess(child, Number(ports[1]), Number(ports[2]), () => stderr)
  }

  client(): Client {
    return new Client({ url: `http://127.0.0.1:${this.port}`, retries: 0 })
  }

  admin(path: string): Promise<HttpAnswer> {
    return http(this.adminPort, 'GET', path)
  }

  async stop(): Promise<number | null> {
    const gone = once(this.child, 'exit') as Promise<[number | null]>
    this.child.kill('SIGTERM')
    const [code] = await gone
    return code
  }
}
