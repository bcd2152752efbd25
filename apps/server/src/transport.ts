import type { Refusal } from '@millrace/base'
import type { Caller } from './caller'
import type { Doorkeeper } from './doorkeeper'
import type { Party } from './principal'
import type { TlsFiles, TlsTexts } from './tls'

/** One HTTP request's way back. */
export interface Responder extends Party {
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
  /** A browser's request for a page whose origin is not allowed. */
  foreign(responder: Responder, origin: string): void
  /** Somebody who is not let in. */
  stranger(responder: Responder | Post, refusal: Refusal): void
}

export interface TransportOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly bodyBytesMax: number
  /** WebSockets that may be open. */
  readonly socketsMax: number
  /** Other connections that may be open. */
  readonly connectionsMax: number
  /** Bytes of bodies that have arrived in part, of all clients together. */
  readonly arrivingBytesMax: number
  /** Bytes that all clients together may leave unread. */
  readonly unreadBytesMax: number
  /** Origins of the pages that browsers may ask for, `*` for all. */
  readonly allowedOrigins: readonly string[]
  /** Null: plain text. */
  readonly tls: Tls | null
  readonly door: Door
  /** Which lane this is: what whoever opens a WebSocket is told (`laneHeader`). */
  readonly lane: string
  readonly doorkeeper: Doorkeeper
}

/** One library reads the files by itself, the other is handed what they hold. */
export interface Tls {
  readonly files: TlsFiles
  readonly texts: TlsTexts
}

/** An open port. */
export interface Transport {
  readonly port: number
  readonly kind: 'uws' | 'node'
  /** WebSockets that are open. */
  readonly sockets: number
  /** Bytes that clients were sent and have not taken, as far as `HeldBytes` knows. */
  readonly unreadBytes: number
  /** WebSockets were told that the server goes away and have not answered that: what they sent before may be on its way. */
  readonly telling: boolean
  /** Replies are on their way that the other side has not taken yet. */
  readonly sending: boolean
  /** New connections get what the files of its TLS hold now, `texts`; those that are open go on. */
  renewTls(texts: TlsTexts): Promise<void>
  /**
   * Takes no new connections and sends away those that are open: a WebSocket is told that the server goes away, a POST's
   * answer is its connection's last. What is under way is answered.
   */
  stopListening(): void
  /** Closes every connection. */
  close(): void
}

/** The paths of the data port. */
export const paths = { score: '/v1/score', resolve: '/v1/resolve', stream: '/v1/stream' } as const

/** Whether a browser may ask for a page of this origin. No origin is no browser. */
export function allowsOrigin(allowed: readonly string[], origin: string): boolean {
  return origin === '' || allowed.includes(origin) || allowed.includes('*')
}

/** What tells a browser that a page of an allowed origin may read the answer. */
export function corsHeaders(origin: string, preflight: boolean): Readonly<Record<string, string>> {
  const answer = { 'access-control-allow-origin': origin, vary: 'origin' }
  if (!preflight) return answer
  return {
    ...answer,
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'content-type, authorization',
    'access-control-max-age': '600',
  }
}

/** Bytes that a slow reader may leave unsent on a WebSocket before it is closed. */
export const backpressureBytesMax = 16 * 1024 * 1024
/** Seconds in which a client reads something of an answer to its POST, or is closed. */
export const readSecondsMax = 12
/** Seconds after which a WebSocket that says nothing, not even a pong, is closed. */
export const idleSeconds = 120
