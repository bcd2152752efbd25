import * as uws from 'uWebSockets.js'

/* The floor: a bare uWebSockets.js server that sends back the frames it gets, and does nothing else. */
const app = uws.App()
app.ws('/v1/stream', {
  maxPayloadLength: 1024 * 1024,
  compression: uws.DISABLED,
  message: (ws, message) => void ws.send(message, true),
})
app.post('/v1/score', (res) => {
  res.onAborted(() => undefined)
  res.onData((piece, isLast) => {
    if (isLast) res.end(piece)
  })
})
app.listen('127.0.0.1', 0, (socket) => {
  if (socket === false) throw new Error('the echo found no port')
  process.send!({ port: uws.us_socket_local_port(socket) })
})
process.on('disconnect', () => process.exit())
