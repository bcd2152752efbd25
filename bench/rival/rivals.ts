import { millraceHttp, millraceWebSocket } from './millrace'
import type { Rival } from './rival'

/** In the order in which they are shown; the first is what the others are compared with. */
export const rivals: readonly Rival[] = [millraceWebSocket, millraceHttp]
