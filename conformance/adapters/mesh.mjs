// An adapter: the suite writes operations to our standard input, one JSON object a line, and reads events from our standard
// output. `client` says whose line it is: one process serves all clients. Needs Node 22, whose WebSocket is built in, or `ws`.
import { createInterface } from 'node:readline'

const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket
const sockets = new Map()
const tell = (client, event) => process.stdout.write(JSON.stringify({ client, ...event }) + '\n')

// What our protocol says for each operation.
const kinds = { offer: 'offer', answer: 'answer', candidate: 'ice-candidate', hangup: 'hangup' }
const send = {
  join: ({ room, name }) => ({ action: 'join', roomId: room, name }),
  leave: ({ room }) => ({ action: 'leave', roomId: room }),
  signal: ({ room, to, kind, data }) => ({ action: 'signal', roomId: room, type: kinds[kind], to, data }),
}

// What each message of our protocol is, as an event.
const member = ({ clientId, name }) => ({ id: clientId, name: name ?? undefined })
const kindOf = Object.fromEntries(Object.entries(kinds).map(([kind, type]) => [type, kind]))
const hear = {
  joined: (m) => ({ event: 'joined', room: m.roomId, id: m.clientId, members: m.peers.map(member) }),
  'peer-joined': (m) => ({ event: 'member-joined', room: m.roomId, ...member(m.peer) }),
  'peer-left': (m) => ({ event: 'member-left', room: m.roomId, id: m.clientId }),
  signal: (m) => ({ event: 'signal', room: m.roomId, from: m.from, kind: kindOf[m.type], data: m.data }),
  error: (m) => ({ event: 'error', reason: m.message }),
}

const connect = (client, url) => {
  const socket = new WebSocket(url)
  sockets.set(client, socket)
  socket.onopen = () => tell(client, { event: 'connected' })
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    const event = hear[message.action]?.(message)
    if (event) tell(client, event)
  }
  socket.onclose = ({ code, reason }) => {
    sockets.delete(client)
    tell(client, { event: 'closed', code: code === 1006 ? undefined : code, reason: String(reason) || undefined })
  }
  socket.onerror = () => {}
}

for await (const line of createInterface({ input: process.stdin })) {
  const { client, op, ...rest } = JSON.parse(line)
  const socket = sockets.get(client)
  if (op === 'connect') connect(client, rest.url)
  else if (op === 'close') socket?.close(rest.code)
  else if (op === 'abort') (socket?.terminate ?? socket?.close)?.call(socket)
  else if (send[op] && socket?.readyState === 1) socket.send(JSON.stringify(send[op](rest)))
}
