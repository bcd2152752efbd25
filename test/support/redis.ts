import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A Redis server of a test: a process of its own, on a free port, with a folder of its own. */
export class RedisServer {
  private process: ChildProcess | null = null
  private readonly folder = mkdtempSync(join(tmpdir(), 'millrace-redis-'))

  private constructor(
    readonly port: number,
    private readonly settings: readonly string[],
  ) {}

  /** @param settings as on its command line, for instance `['--requirepass', 'secret']` */
  static async start(settings: readonly string[] = []): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), settings)
    await server.start()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it (again), with what it had saved. */
  async start(): Promise<void> {
    const { port, folder } = this
    const own = [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
      '--save',
      '',
    ]
    this.process = spawn('redis-server', [...own, ...this.settings], { stdio: 'ignore' })
    for (let i = 0; i < 200; i++) {
      if (await answers(port)) return
      await delay(25)
    }
    throw new Error('redis-server did not start')
  }

  /** Stops its process where it is, or lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.process!.kill(signal)
  }

  /** Ends it at once, as a machine does that loses its power. */
  async kill(): Promise<void> {
    const { process } = this
    if (process === null || process.exitCode !== null || process.signalCode !== null) return
    const gone = new Promise((resolve) => process.once('exit', resolve))
    process.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** A ping is answered, be it by an error (a password is wanted). */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const end = (good: boolean): void => {
      socket.destroy()
      resolve(good)
    }
    socket.on('connect', () => socket.write('PING\r\n'))
    socket.on('data', (answer) => end(!answer.toString('latin1').startsWith('-LOADING')))
    socket.on('error', () => end(false))
  })
}
