"""An adapter: the suite writes operations to our standard input, one JSON object a line, and reads events from our standard
output. `client` says whose line it is: one process serves all clients. The WebSocket below is only as good as the example needs.
"""
import asyncio
import base64
import json
import os
import sys
from urllib.parse import urlsplit

KINDS = {"offer": "offer", "answer": "answer", "candidate": "ice-candidate", "hangup": "hangup"}
KIND_OF = {name: kind for kind, name in KINDS.items()}
clients = {}


def tell(client, **event):
    # A payload may well be null.
    event = {key: value for key, value in event.items() if value is not None or key == "data"}
    sys.stdout.write(json.dumps({"client": client, **event}) + "\n")
    sys.stdout.flush()


def message_for(op):
    """What our protocol says for an operation."""
    if op["op"] == "join":
        message = {"action": "join", "roomId": op["room"], "name": op.get("name")}
    elif op["op"] == "leave":
        message = {"action": "leave", "roomId": op["room"]}
    elif op["op"] == "signal":
        message = {"action": "signal", "roomId": op["room"], "type": KINDS[op["kind"]], "to": op.get("to")}
        message["data"] = op["data"]
    else:
        return None
    return {key: value for key, value in message.items() if value is not None or key == "data"}


def member(entry):
    return {key: value for key, value in {"id": entry["clientId"], "name": entry.get("name")}.items() if value is not None}


def event_of(message):
    """What a message of our protocol is, as an event."""
    action, room = message.get("action"), message.get("roomId")
    if action == "joined":
        return {"event": "joined", "room": room, "id": message["clientId"], "members": [member(p) for p in message["peers"]]}
    if action == "peer-joined":
        return {"event": "member-joined", "room": room, **member(message["peer"])}
    if action == "peer-left":
        return {"event": "member-left", "room": room, "id": message["clientId"]}
    if action == "signal":
        return {"event": "signal", "room": room, "from": message["from"], "kind": KIND_OF.get(message["type"]), "data": message["data"]}
    if action == "error":
        return {"event": "error", "reason": message.get("message")}
    return None


class Socket:
    async def open(self, url):
        parts = urlsplit(url)
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        key = base64.b64encode(os.urandom(16)).decode()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError(head.split(b"\r\n")[0].decode())

    def frame(self, opcode, payload):
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
        self.writer.write(head + bytes(4) + payload)

    async def read(self):
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 15, await self.reader.readexactly(size)


async def run(client, socket):
    code = None
    try:
        while True:
            opcode, payload = await socket.read()
            if opcode == 1:
                event = event_of(json.loads(payload))
                if event:
                    tell(client, **event)
            elif opcode == 9:
                socket.frame(10, payload)
            elif opcode == 10:
                tell(client, event="raw-pong", text=payload.decode(errors="replace"))
            elif opcode == 8:
                code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else None
                socket.frame(8, payload[:2])
                break
    except (OSError, ValueError, asyncio.IncompleteReadError):
        pass
    socket.writer.close()
    clients.pop(client, None)
    tell(client, event="closed", code=code)


async def connect(client, url):
    socket = Socket()
    try:
        await socket.open(url)
    except (OSError, asyncio.IncompleteReadError) as error:
        return tell(client, event="closed", reason=str(error))
    clients[client] = socket
    tell(client, event="connected")
    await run(client, socket)


async def main():
    loop, tasks = asyncio.get_running_loop(), set()
    lines = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        op = json.loads(line)
        client, socket = op["client"], clients.get(op["client"])
        if op["op"] == "connect":
            task = loop.create_task(connect(client, op["url"]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif socket is None:
            continue
        elif op["op"] == "close":
            socket.frame(8, op.get("code", 1000).to_bytes(2, "big"))
        elif op["op"] == "raw":
            socket.writer.write(bytes.fromhex(op["bytes"]))
        elif op["op"] == "abort":
            socket.writer.transport.abort()
        elif message := message_for(op):
            socket.frame(1, json.dumps(message).encode())


asyncio.run(main())
