// crowd.js PORT COUNT: opens COUNT WebSockets, sends on each the request that stdin has in base64, and says so; then waits
// to be killed. Clients that vanish are processes that vanish.
const { readFileSync } = require('node:fs')
const { WebSocket } = require('ws')

const [port, count] = process.argv.slice(2).map(Number)
const request = Buffer.from(readFileSync(0, 'latin1'), 'base64')
let open = 0
for (let i = 0; i < count; i++) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, { perMessageDeflate: false })
  socket.on('error', (error) => {
    throw error
  })
  socket.on('open', () => {
    socket.send(request)
    if (++open === count) process.stdout.write('there\n')
  })
}
