import { Code, codeNames } from '@millrace/base'
import { encodeReply, replyPlaces, type RouteMessage } from '@millrace/wire'

interface Template {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  /** Index into `words`. */
  readonly id: number
}

/** Those that a route keeps; they are few, unless its numbers change. */
const keptMax = 256

/**
 * Replies of refusals that come by the thousand, since what they say hangs on the server and not on the request: made once
 * for each route and text, then only the id changes. A server that is asked for more than it can do has no time for more.
 */
export class RefusalTemplates {
  /** By route, from -1, and code: two each. */
  private readonly kept: (Map<string, Template> | undefined)[] = []

  constructor(private readonly messages: readonly RouteMessage[]) {}

  static takes(code: Code): boolean {
    return code === Code.RESOURCE_EXHAUSTED || code === Code.DEADLINE_EXCEEDED
  }

  /** The reply; it holds until the next one. */
  of(route: number, code: Code, message: string, idLo: number, idHi: number): Uint8Array {
    const kept = (this.kept[2 * (route + 1) + (code === Code.DEADLINE_EXCEEDED ? 1 : 0)] ??= new Map<
      string,
      Template
    >())
    let template = kept.get(message)
    if (template === undefined) {
      template = make(this.messages[route] ?? null, code, message)
      if (kept.size === keptMax) kept.clear()
      kept.set(message, template)
    }
    template.words[template.id] = idLo
    template.words[template.id + 1] = idHi
    return template.bytes
  }
}

function make(route: RouteMessage | null, code: Code, message: string): Template {
  // Not id 0, which is left out.
  const encoded = encodeReply({ id: 1n, code: codeNames[code]!, message, route, outputs: [], timings: null })
  // A buffer of its own, for word access from its begin.
  const bytes = new Uint8Array(encoded)
  return { bytes, words: new Uint32Array(bytes.buffer), id: replyPlaces(encoded).id >>> 2 }
}
