/**
 * What a server that drains says in a ping to each of its WebSockets: what is asked from here on belongs on another
 * connection, what was asked before is answered on this one. A ping asks nothing of clients that do not know it.
 */
export const goingAway = 'going away'
