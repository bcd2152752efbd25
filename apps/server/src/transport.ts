import type { Caller } from './caller'

/** One HTTP request's way back. */
export interface Responder {
  /** The client went away before it was answered. */
  readonly closed: boolean
  /** Answers; at most once. `body` is not read after it returns. */
  respond(status: string, contentType: string, body: string | Uint8Array): void
  /** Runs `send`, so that what it sends leaves as one packet. */
  cork(send: () => void): void
}

/** One POST: what it asks for, and its way back. */
export interface Post extends Responder {
  readonly contentType: string
  /** To decide only (`POST /v1/resolve`). */
  readonly dryRun: boolean
}

/** One WebSocket: a caller, that may be answered with text as well. */
export interface Socket extends Caller {
  replyText(text: string): void
}

/** What a lane does with what arrives. Buffers are only read before these return. */
export interface Door {
  /** The body of `POST /v1/score` or `POST /v1/resolve`. */
  post(post: Post, body: ArrayBufferLike, base: number, length: number): void
  /** A binary message of `GET /v1/stream`. */
  message(socket: Socket, body: ArrayBufferLike, base: number, length: number): void
  /** A text message of it. */
  text(socket: Socket, text: string): void
  /** Every other path. */
  other(responder: Responder, method: string, path: string): void
  /** A body larger than `bodyBytesMax`; the connection is closed after it. */
  tooLarge(responder: Responder): void
}

export interface TransportOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly bodyBytesMax: number
  readonly door: Door
}

/** An open port. */
export interface Transport {
  readonly port: number
  readonly kind: 'uws' | 'node'
  /** WebSockets that are open. */
  readonly sockets: number
  /** Replies are on their way that the other side has not taken yet. */
  readonly sending: boolean
  /** Takes no new connections; those that are open go on. */
  stopListening(): void
  /** Closes every connection. */
  close(): void
}

/** The paths of the data port. */
export const paths = { score: '/v1/score', resolve: '/v1/resolve', stream: '/v1/stream' } as const

/** Bytes that a slow reader may leave unsent on a WebSocket before it is closed. */
export const backpressureBytesMax = 16 * 1024 * 1024
/** Seconds after which a WebSocket that says nothing, not even a pong, is closed. */
export const idleSeconds = 120
